package scenario

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
)

// Bounds of what is read.
const (
	maxLine    = 16 << 20 // bytes of a recorded policy
	maxWritten = 4 << 20  // bytes of a file in the written form
	maxFaults  = 50       // mistakes that are told before reading stops
)

// RunFiles runs all scenarios of the files, several at once, and calls report
// for each mismatch in the order of the files. The error joins one *Error for
// each mistake in a file, and others for what cannot be read; the Result is then
// that of the rest.
func RunFiles(ctx context.Context, files []string, report func(Mismatch)) (Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := runtime.GOMAXPROCS(0)
	r := runner{inOrder: make(chan *job, 4*workers), toDo: make(chan *job)}
	var all sync.WaitGroup
	all.Go(func() { r.read(ctx, files) })
	for range workers {
		all.Go(func() {
			for j := range r.toDo {
				j.run(ctx)
			}
		})
	}
	var sum Result
	var faults []error
	for j := range r.inOrder {
		<-j.done
		if j.err != nil && len(faults) < maxFaults {
			if faults = append(faults, j.err); len(faults) == maxFaults {
				faults = append(faults, errors.New("more mistakes are not told"))
				cancel()
			}
		}
		sum.Passed += j.result.Passed
		sum.Failed += j.result.Failed
		sum.Verdicts += j.result.Verdicts
		for _, m := range j.result.Mismatches {
			report(m)
		}
	}
	all.Wait()
	return sum, errors.Join(faults...)
}

// runner hands out the scenarios: each to a worker, and all in their order to
// the one who collects.
type runner struct {
	inOrder chan *job
	toDo    chan *job
}

// job is one scenario to load and run, or a fault in its place.
type job struct {
	load   func() (*Scenario, error)
	result Result
	err    error
	done   chan struct{}
}

func (j *job) run(ctx context.Context) {
	defer close(j.done)
	defer func() {
		if fault := recover(); fault != nil {
			j.err = fmt.Errorf("fault of the program in a policy test: %v", fault)
		}
	}()
	s, err := j.load()
	if err != nil {
		j.err = err
		return
	}
	j.result, j.err = s.Run(ctx)
}

// read makes the jobs of all files.
func (r *runner) read(ctx context.Context, files []string) {
	defer close(r.inOrder)
	defer close(r.toDo)
	for _, file := range files {
		err := readFile(file, func(load func() (*Scenario, error)) error { return r.hand(ctx, load) })
		if err != nil && ctx.Err() == nil {
			_ = r.hand(ctx, func() (*Scenario, error) { return nil, err })
		}
	}
}

// hand gives a job away. It fails when nobody wants it any more.
func (r *runner) hand(ctx context.Context, load func() (*Scenario, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{load: load, done: make(chan struct{})}
	r.inOrder <- j
	r.toDo <- j
	return nil
}

// readFile calls yield with what loads each scenario of the file.
func readFile(file string, yield func(load func() (*Scenario, error)) error) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("cannot read the policy test: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	if magic, _ := r.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(r)
		if err != nil {
			return &Error{File: file, Err: fmt.Errorf("cannot unzip: %w", err)}
		}
		r = bufio.NewReaderSize(z, 64<<10)
	}
	return read(file, r, yield)
}

// read tells the form from the first byte that is not blank.
func read(file string, r *bufio.Reader, yield func(load func() (*Scenario, error)) error) error {
	start, err := r.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return &Error{File: file, Err: err}
	}
	if bytes.HasPrefix(bytes.TrimLeft(start, " \t\r\n"), []byte("{")) {
		return readRecords(file, r, yield)
	}
	data, err := io.ReadAll(io.LimitReader(r, maxWritten+1))
	switch {
	case err != nil:
		return &Error{File: file, Err: err}
	case len(data) > maxWritten:
		return &Error{File: file, Err: fmt.Errorf("too large for a policy test, expected at most %d MiB", maxWritten>>20)}
	}
	return yield(func() (*Scenario, error) { return parseWritten(file, data) })
}

func readRecords(file string, r io.Reader, yield func(load func() (*Scenario, error)) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	n := 0
	for lines.Scan() {
		n++
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		at, line := n, bytes.Clone(lines.Bytes())
		if err := yield(func() (*Scenario, error) { return parseRecord(file, at, line) }); err != nil {
			return err
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return &Error{file, n + 1, fmt.Errorf("a line that is too long, expected at most %d MiB", maxLine>>20)}
	case err != nil:
		return &Error{file, n + 1, err}
	case n == 0:
		return &Error{File: file, Err: errors.New("nothing in it")}
	}
	return nil
}
