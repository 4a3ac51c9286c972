package makemap

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"gatepost/maps/bdb"
	"gatepost/maps/cdb"
)

// Types are the types of databases that can be made.
func Types() []string { return []string{"hash", "btree", "cdb"} }

// File is the file of a map of a type: its name, with the type's extension.
func File(typ, name string) (string, error) {
	extension := ".db"
	switch typ {
	case "hash", "btree":
	case "cdb":
		extension = ".cdb"
	default:
		return "", fmt.Errorf("unknown type %q, expected hash, btree or cdb", typ)
	}
	if filepath.Ext(name) != extension {
		name += extension
	}
	return name, nil
}

// Make reads a text and puts the database that it makes in the place of FILE, at
// once: whoever reads FILE meanwhile has the old one. It takes the lock that makemap
// and postmap take, and waits for it until ctx ends. good tells whether every line
// was taken; what was left out went to opt.Said. After an error FILE is what it was.
func Make(ctx context.Context, typ, name string, in io.Reader, opt Options) (good bool, err error) {
	path, err := File(typ, name)
	if err != nil {
		return false, err
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	text, err := io.ReadAll(in) // all of it before the lock: a writer may be slow
	if err != nil {
		return false, fmt.Errorf("reading the text: %w", err)
	}
	old, err := lockOld(ctx, path)
	if err != nil {
		return false, err
	}
	defer old.close()
	var records []bdb.Record
	if opt.Append && old.file != nil {
		if records, err = load(old.file); err != nil {
			return false, err
		}
	}
	b := newBuilder(opt, records)
	if good, err = b.read(bytes.NewReader(text)); err != nil {
		return false, err
	}
	return good, old.replace(path, func(w io.Writer) error { return write(w, typ, b.records, opt.Duplicates) })
}

func write(w io.Writer, typ string, records []bdb.Record, duplicates bool) error {
	out := bufio.NewWriterSize(w, 1<<20)
	var err error
	switch typ {
	case "cdb":
		constant := make([]cdb.Record, len(records))
		for i, r := range records {
			constant[i] = cdb.Record(r)
		}
		err = cdb.Write(out, constant)
	case "btree":
		err = bdb.Write(out, bdb.Btree, records, bdb.Options{Duplicates: duplicates})
	default:
		err = bdb.Write(out, bdb.Hash, records, bdb.Options{Duplicates: duplicates})
	}
	return errors.Join(err, out.Flush())
}

// Dump writes a database as a text (-u): key, delimiter (a tab unless there is
// another), value. Both end at a NUL byte, as in C.
func Dump(typ, name string, out io.Writer, opt Options) error {
	path, err := File(typ, name)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := lockShared(f); err != nil {
		return err
	}
	records, err := load(f)
	if err != nil {
		return err
	}
	delimiter := opt.Delimiter
	if delimiter == 0 {
		delimiter = '\t'
	}
	w := bufio.NewWriter(out)
	for _, r := range records {
		w.Write(upToNUL(r.Key))
		w.WriteByte(delimiter)
		w.Write(upToNUL(r.Value))
		w.WriteByte('\n')
	}
	return w.Flush()
}

func upToNUL(b []byte) []byte {
	b, _, _ = bytes.Cut(b, []byte{0})
	return b
}

// load reads all pairs of an open database.
func load(f *os.File) (records []bdb.Record, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: errors.New("is no regular file")}
	}
	data, err := io.ReadAll(io.NewSectionReader(f, 0, info.Size()))
	if err != nil {
		return nil, err
	}
	take := func(key, value []byte) error {
		records = append(records, bdb.Record{Key: key, Value: value})
		return nil
	}
	if filepath.Ext(f.Name()) == ".cdb" {
		err = cdb.Walk(data, take)
	} else if db, bad := bdb.Parse(data); bad != nil {
		err = bad
	} else {
		err = db.Walk(take)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return records, nil
}
