package maps

import (
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readAll reads a file of size bytes from its begin. A file that has become
// shorter or longer is io.ErrUnexpectedEOF. In large files most of the time goes
// into memory that is touched for the first time, which processors can share.
func readAll(f *os.File, size int64, how making) (string, error) {
	const piece = 1 << 20
	data := make([]byte, size)
	inLargePages(data)
	pieces := int((size + piece - 1) / piece)
	errs := make([]error, pieces)
	how.each(pieces, func(i int) {
		from := int64(i) * piece
		errs[i] = readPiece(f, data[from:min(from+piece, size)], from)
	})
	for _, err := range errs {
		if err != nil {
			return "", err
		}
	}
	switch n, err := f.ReadAt(make([]byte, 1), size); {
	case n > 0:
		return "", io.ErrUnexpectedEOF
	case err != io.EOF:
		return "", err
	}
	return unsafe.String(unsafe.SliceData(data), len(data)), nil // nobody else has data
}

// inLargePages asks for memory in large pages, before it is touched: a hundred
// megabytes cost less time then to have than to fill. Where there are none it has
// no effect.
func inLargePages(b []byte) {
	if len(b) >= 1<<22 {
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	}
}

// readPiece fills b.
func readPiece(f *os.File, b []byte, from int64) error {
	n, err := f.ReadAt(b, from)
	switch {
	case n == len(b):
		return nil
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}
