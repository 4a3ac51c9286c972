package maps

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadAll(t *testing.T) {
	long := strings.Repeat("0123456789abcde\n", 3<<16) + "end"
	for _, text := range []string{"", "a", long[:1<<20], long} {
		path := filepath.Join(t.TempDir(), "access")
		write(t, path, text)
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		size := int64(len(text))
		for _, workers := range []int{0, 1, 3} {
			if got, err := readAll(f, size, making{workers: workers}); got != text || err != nil {
				t.Errorf("%d bytes, %d workers: %d bytes, error %v", size, workers, len(got), err)
			}
		}
		if _, err := readAll(f, size+1, making{}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes, one missing: error %v", size, err)
		}
		if _, err := readAll(f, size+3<<20, making{}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes, 3 MiB missing: error %v", size, err)
		}
		if size > 0 {
			if _, err := readAll(f, size-1, making{}); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%d bytes, one too many: error %v", size, err)
			}
		}
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "gone"))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := readAll(f, 5, making{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a closed file: error %v", err)
	}
}
