package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"gatepost/internal/config"
	"gatepost/internal/program"
	"gatepost/internal/setup"
	"gatepost/relay/sasl"
	"gatepost/relay/sasl/users"
)

func userCommand(s streams) *cli.Command {
	configFlag := program.ConfigFlag()
	file := &cli.StringFlag{Name: "file", Usage: "the accounts are in `USERS` instead of relay.users"}
	secret := []cli.Flag{
		configFlag, file,
		&cli.BoolFlag{Name: "password-stdin", Usage: "the password is the first line of the standard input"},
		&cli.BoolFlag{Name: "plaintext-equivalents", Usage: "also keep what DIGEST-MD5 and CRAM-MD5 need, with which whoever reads the file can log in"},
	}
	sub := func(name, usage, arguments string, flags []cli.Flag, action func(*cli.Context) error) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, Flags: flags, Action: action, OnUsageError: program.WrongFlag, HideHelpCommand: true,
			UsageText: strings.TrimSpace(programName + " user " + name + " [FLAGS] " + arguments),
		}
	}
	return &cli.Command{
		Name:      "user",
		Usage:     "make, list and delete the accounts that log in to gatepost-relay",
		UsageText: programName + " user add|list|delete|passwd [FLAGS] [NAME]",
		Description: "The accounts are in relay.users of the configuration, by default " + config.DefaultUsers + ". A change is in\n" +
			"force at the next login; the relay need not be told. The exit code is 1 when the account\n" +
			"that is to be made exists, or the one to be changed or deleted does not, or the password\n" +
			"was not typed twice alike.",
		Subcommands: []*cli.Command{
			sub("add", "make an account; the password is asked for", "NAME", secret, s.addUser),
			sub("list", "print the accounts, and what they can log in with", "", []cli.Flag{configFlag, file}, s.listUsers),
			sub("delete", "delete an account", "NAME", []cli.Flag{configFlag, file}, s.deleteUser),
			sub("passwd", "give an account another password", "NAME", secret, s.changePassword),
		},
		Action: func(c *cli.Context) error {
			if word := c.Args().First(); word != "" {
				return program.Usage(fmt.Errorf("unknown command %q after user, expected add, list, delete or passwd", word))
			}
			return program.Usage(errors.New("expected add, list, delete or passwd after user, see --help"))
		},
	}
}

// accountsFile is the file of accounts, and the configuration that it is of.
func accountsFile(c *cli.Context) (string, *config.Config, error) {
	cfg, err := program.LoadConfig(c)
	if err != nil {
		return "", nil, program.Usage(err)
	}
	if c.IsSet("file") {
		return c.String("file"), cfg, nil
	}
	if cfg.Relay.Users == "" {
		return "", nil, program.Usage(errors.New("the configuration has relay.sasldb and no relay.users, expected users = \"" + config.DefaultUsers + "\" beside it, or saslpasswd2 for accounts there"))
	}
	return cfg.Relay.Users, cfg, nil
}

// userName is the argument, as accounts are kept under it, and the file of accounts.
func userName(c *cli.Context) (name, file string, cfg *config.Config, err error) {
	args, err := program.Arguments(c, 1, 1, "the account's NAME")
	if err != nil {
		return "", "", nil, err
	}
	if name, err = sasl.PrepareName(args[0]); err != nil {
		return "", "", nil, program.Usage(err)
	}
	file, cfg, err = accountsFile(c)
	return name, file, cfg, err
}

// wrongAccount is how the program ends after a fault of the file: the account is there, or
// not, or the file, the name or the password is not good.
func wrongAccount(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, users.ErrExists):
		return &program.ExitError{Code: program.ExitWrong, Err: fmt.Errorf("%w; gatepost user passwd gives it another password", err)}
	case errors.Is(err, users.ErrNotFound):
		return &program.ExitError{Code: program.ExitWrong, Err: err}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	}
	return program.Usage(err)
}

func (s streams) addUser(c *cli.Context) error {
	name, file, cfg, err := userName(c)
	if err != nil {
		return err
	}
	if all, err := users.List(file); err == nil && slices.ContainsFunc(all, func(a users.Account) bool { return a.Name == name }) {
		return wrongAccount(fmt.Errorf("%s: account %q: %w", file, name, users.ErrExists)) // before a password is asked for
	}
	password, err := s.password(c.Context, c.Bool("password-stdin"), name)
	if err != nil {
		return err
	}
	options, err := secretsWanted(c, cfg)
	if err != nil {
		return err
	}
	_, missing := os.Stat(file)
	if err := users.Add(c.Context, file, name, password, options); err != nil {
		return wrongAccount(err)
	}
	if errors.Is(missing, fs.ErrNotExist) {
		s.handOver(file, cfg.Relay.Spool)
	}
	return nil
}

// handOver gives a new file to whom the relay runs as, by the owner of its spool, where we
// may and know.
func (s streams) handOver(file, spool string) {
	info, err := os.Stat(spool)
	if err != nil || os.Geteuid() != 0 {
		fmt.Fprintf(s.err, "made %s, which only this user can read; the relay must be able to\n", program.Printable(file))
		return
	}
	owner := info.Sys().(*syscall.Stat_t)
	// Where others may write to its folder, it could be a link to another file by now.
	if err := os.Lchown(file, int(owner.Uid), int(owner.Gid)); err != nil {
		fmt.Fprintf(s.err, "made %s, but cannot give it to the owner of %s: %v\n", program.Printable(file), program.Printable(spool), err)
	}
}

// secretsWanted are the kinds of secrets that the mechanisms of the relay need.
func secretsWanted(c *cli.Context, cfg *config.Config) (users.Options, error) {
	o := users.Options{
		MD5:  c.Bool("plaintext-equivalents"),
		SHA1: slices.ContainsFunc(cfg.Relay.AuthMechanisms, func(m string) bool { return strings.HasPrefix(m, "SCRAM-SHA-1") }),
	}
	if o.Realms = cfg.Relay.AuthRealm; !o.MD5 || len(o.Realms) > 0 {
		return o, nil
	}
	ctx, cancel := context.WithTimeout(c.Context, 5*time.Second)
	defer cancel()
	name, err := setup.HostName(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return o, program.Usage(err)
	}
	o.Realms = []string{name}
	return o, nil
}

func (s streams) changePassword(c *cli.Context) error {
	name, file, cfg, err := userName(c)
	if err != nil {
		return err
	}
	all, err := users.List(file)
	if err != nil {
		return wrongAccount(err)
	}
	if !slices.ContainsFunc(all, func(a users.Account) bool { return a.Name == name }) {
		return wrongAccount(fmt.Errorf("%s: account %q: %w", file, name, users.ErrNotFound))
	}
	password, err := s.password(c.Context, c.Bool("password-stdin"), name)
	if err != nil {
		return err
	}
	var wanted *users.Options // nil: the kinds that the account has
	if c.Bool("plaintext-equivalents") {
		o, err := secretsWanted(c, cfg)
		if err != nil {
			return err
		}
		wanted = &o
	}
	return wrongAccount(users.SetPassword(c.Context, file, name, password, wanted))
}

func (s streams) deleteUser(c *cli.Context) error {
	name, file, _, err := userName(c)
	if err != nil {
		return err
	}
	return wrongAccount(users.Delete(c.Context, file, name))
}

func (s streams) listUsers(c *cli.Context) error {
	if err := program.NoArguments(c); err != nil {
		return err
	}
	file, _, err := accountsFile(c)
	if err != nil {
		return err
	}
	all, err := users.List(file)
	if errors.Is(err, fs.ErrNotExist) && dirExists(file) {
		return nil // no account yet
	}
	if err != nil {
		return program.Usage(err)
	}
	out := bufio.NewWriter(s.out)
	for _, a := range all {
		fmt.Fprintf(out, "%s\t%s\n", program.Printable(a.Name), strings.Join(a.Mechanisms, " "))
	}
	return out.Flush()
}

func dirExists(file string) bool {
	info, err := os.Stat(filepath.Dir(file))
	return err == nil && info.IsDir()
}
