package spool

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkCommit is what a session and a delivery do together, without the reading.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{4 << 10, 100 << 10} {
		for _, writers := range []int{1, 20, 128} {
			b.Run(fmt.Sprintf("size=%dK/writers=%d", size>>10, writers), func(b *testing.B) {
				s := open(b, b.TempDir(), Options{Log: slog.New(slog.DiscardHandler)})
				benchmarkCommit(b, s, writers, text(size))
			})
		}
	}
}

func benchmarkCommit(b *testing.B, s *Spool, writers int, body []byte) {
	e := envelope(1)
	ctx := context.Background()
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	before := s.Stats().Syncs
	b.ResetTimer()
	var wait sync.WaitGroup
	for range writers {
		wait.Go(func() {
			for left.Add(-1) >= 0 {
				w, err := s.Create(e)
				if err == nil {
					_, err = w.Write(body)
				}
				var m *Message
				if err == nil {
					m, err = w.Commit(ctx)
				}
				if err == nil {
					err = m.Remove()
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
	b.ReportMetric(float64(s.Stats().Syncs-before)/float64(b.N), "syncs/msg")
}

// nullDisk takes writes and syncs without a system call, to see what the rest costs.
type nullDisk struct{ disk }

type nullFile struct{ file }

func (d nullDisk) open(name string) (file, error) {
	f, err := d.disk.open(name)
	return nullFile{f}, err
}

func (d nullDisk) create(name string) (file, error) {
	f, err := d.disk.create(name)
	return nullFile{f}, err
}

func (nullDisk) syncDir(string) error          { return nil }
func (nullFile) writeAt([][]byte, int64) error { return nil }
func (nullFile) sync() error                   { return nil }

// BenchmarkWithoutDisk has the same work without the system calls.
func BenchmarkWithoutDisk(b *testing.B) {
	for _, writers := range []int{1, 20, 128} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			dir := b.TempDir()
			first := open(b, dir, Options{Log: slog.New(slog.DiscardHandler)})
			if err := first.Close(); err != nil {
				b.Fatal(err)
			}
			s := open(b, dir, Options{Log: slog.New(slog.DiscardHandler), d: nullDisk{dirDisk(dir)}})
			benchmarkCommit(b, s, writers, text(4<<10))
		})
	}
}
