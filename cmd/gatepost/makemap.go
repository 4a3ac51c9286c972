package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"gatepost/internal/makemap"
	"gatepost/internal/program"
)

// lockTime bounds the wait for other programs that have the database locked.
const lockTime = time.Minute

func makemapCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:      "makemap",
		Usage:     "make a database of a text, as makemap(8) does; Gatepost needs none",
		UsageText: programName + " makemap [FLAGS] TYPE FILE < TEXT",
		Description: "TYPE is hash, btree or cdb; the database is FILE.db or FILE.cdb. It takes the place of the\n" +
			"old one at once, and only if it could be written whole. Lines that are wrong are named and\n" +
			"left out; the exit code is 1 then. Flags are makemap's, and may be joined (-dN):\n" +
			"  -d      keep all lines of a key             -o      add to the database that is there\n" +
			"  -r      of a key's lines the last counts    -f      keep upper case in keys\n" +
			"  -N      end keys and values with a NUL      -e      allow keys without a value\n" +
			"  -t C    the character C ends a key          -D C    C begins a comment, instead of #\n" +
			"  -v      print each pair                     -u      write the database as a text to stdout\n" +
			"  -l      list the types\n" +
			"-i, -s, -c SIZE and -C FILE are taken and mean nothing here.",
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			m, err := parseMakemap(c.Args().Slice())
			switch {
			case err != nil:
				return program.Usage(err)
			case m.help:
				return cli.ShowSubcommandHelp(c)
			case m.list:
				_, err := fmt.Fprintln(s.out, strings.Join(makemap.Types(), "\n"))
				return err
			}
			return s.makemap(c.Context, m)
		},
	}
}

// makemapCall is a command line of makemap.
type makemapCall struct {
	makemap.Options
	typ, name                 string
	help, list, dump, verbose bool
}

// parseMakemap reads flags as getopt(3) does: joined, with their values attached
// or in the next argument.
func parseMakemap(args []string) (m makemapCall, err error) {
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		flags := args[0][1:]
		args = args[1:]
		if flags == "-" {
			break
		}
		if flags == "-help" {
			return makemapCall{help: true}, nil
		}
		for flags != "" {
			flag := flags[0]
			flags = flags[1:]
			if !strings.ContainsRune("tDcCi", rune(flag)) {
				if err := m.set(flag); err != nil {
					return m, err
				}
				continue
			}
			value := flags
			if flags = ""; value == "" {
				if len(args) == 0 {
					return m, fmt.Errorf("flag -%c has no value", flag)
				}
				value, args = args[0], args[1:]
			}
			if err := m.setValue(flag, value); err != nil {
				return m, err
			}
		}
	}
	if m.list || m.help {
		return m, nil
	}
	if len(args) != 2 {
		return m, errors.New("expected TYPE and FILE, see --help")
	}
	m.typ, m.name = args[0], args[1]
	return m, nil
}

func (m *makemapCall) set(flag byte) error {
	switch flag {
	case 'd':
		m.Duplicates = true
	case 'o':
		m.Append = true
	case 'r':
		m.Replace = true
	case 'f':
		m.KeepCase = true
	case 'N':
		m.Null = true
	case 'e':
		m.Empty = true
	case 'v':
		m.verbose = true
	case 'u':
		m.dump = true
	case 'l':
		m.list = true
	case 'h':
		m.help = true
	case 's': // file safety is sendmail's matter
	default:
		return fmt.Errorf("unknown flag -%c, see --help", flag)
	}
	return nil
}

func (m *makemapCall) setValue(flag byte, value string) error {
	if flag != 't' && flag != 'D' {
		return nil // sizes and files of libdb and sendmail
	}
	if len(value) != 1 {
		return fmt.Errorf("flag -%c is followed by %q, expected one character", flag, value)
	}
	if flag == 't' {
		m.Delimiter = value[0]
	} else {
		m.Comment = value[0]
	}
	return nil
}

func (s streams) makemap(ctx context.Context, m makemapCall) error {
	ctx, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	if m.dump {
		if err := makemap.Dump(m.typ, m.name, s.out, m.Options); err != nil {
			return program.Usage(err)
		}
		return nil
	}
	m.Said = func(line int, text string) {
		fmt.Fprintf(s.err, "makemap: %s: line %d: %s\n", m.name, line, program.Printable(text))
	}
	out := bufio.NewWriter(s.out)
	if m.verbose {
		m.Took = func(key, value string) {
			fmt.Fprintf(out, "key=`%s', val=`%s'\n", program.Printable(key), program.Printable(value))
		}
	}
	good, err := makemap.Make(ctx, m.typ, m.name, s.in, m.Options)
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return err
	case err != nil:
		return program.Usage(err)
	case !good:
		return program.Exit(program.ExitWrong)
	}
	return nil
}
