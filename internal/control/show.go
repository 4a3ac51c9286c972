package control

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// Part is what of a message is shown.
type Part string

// The parts of a message.
const (
	Header Part = "header"
	Whole  Part = "message"
)

// maxHeader bounds a header that is shown.
const maxHeader = 4 << 20

// Show opens a part of a message as it is on the disk: lines end in CRLF. It returns how
// many bytes there are.
func Show(_ context.Context, q Queue, id string, part Part) (io.ReadCloser, int64, error) {
	if part != Header && part != Whole {
		return nil, 0, fmt.Errorf("unknown part %q", part)
	}
	m, ok := q.Find(id)
	if !ok {
		return nil, 0, ErrGone
	}
	r, err := m.Open()
	if err != nil {
		return nil, 0, err
	}
	if part == Whole {
		return r, m.Size(), nil
	}
	header, err := readHeader(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, 0, err
	}
	return io.NopCloser(bytes.NewReader(header)), int64(len(header)), nil
}

// readHeader reads as far as the empty line, or so much of it as is shown.
func readHeader(r io.Reader) ([]byte, error) {
	var header []byte
	in := bufio.NewReader(io.LimitReader(r, maxHeader))
	for {
		line, err := in.ReadBytes('\n')
		if len(bytes.TrimRight(line, "\r\n")) == 0 && err == nil || err == io.EOF && len(line) == 0 {
			return header, nil
		}
		header = append(header, line...)
		switch {
		case err == io.EOF:
			return header, nil
		case err != nil:
			return nil, err
		}
	}
}
