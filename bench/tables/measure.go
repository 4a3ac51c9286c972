package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gatepost/internal/makemap"
	"gatepost/maps"
	"gatepost/policy"
)

// openAccess opens a file as the milter opens its access table.
func openAccess(path string) (*maps.Table, error) {
	spec := maps.Spec{Name: "access", Path: path, Format: maps.FormatAccess, Check: policy.AccessCheck()}
	switch filepath.Ext(path) {
	case ".db":
		spec.Kind = maps.KindDB
	case ".cdb":
		spec.Kind = maps.KindCDB
	}
	return maps.Open(spec, slog.New(slog.DiscardHandler))
}

// databases are the types of gatepost makemap, and the files of the bench's databases.
func databases(dir string) map[string]string {
	return map[string]string{"hash": filepath.Join(dir, "hash.db"), "btree": filepath.Join(dir, "btree.db"), "cdb": filepath.Join(dir, "access.cdb")}
}

// makeDatabases has gatepost makemap make one of each type.
func makeDatabases(dir, text string) error {
	for typ, path := range databases(dir) {
		in, err := os.Open(text)
		if err != nil {
			return err
		}
		good, err := makemap.Make(context.Background(), typ, path, in, makemap.Options{})
		in.Close()
		if err == nil && !good {
			err = fmt.Errorf("%s: lines were left out", text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// measureLoad prints how long it takes from a file to serving, the processor's
// time for it, and what memory it takes, at rest and at most.
func measureLoad(path string) error {
	runtime.GC()
	debug.FreeOSMemory()
	base, err := memory("VmRSS")
	if err != nil {
		return err
	}
	start, cpu := time.Now(), cpuTime()
	table, err := openAccess(path)
	if err != nil {
		return err
	}
	took, cpu := time.Since(start), cpuTime()-cpu
	most, err := memory("VmHWM")
	if err != nil {
		return err
	}
	runtime.GC()
	debug.FreeOSMemory()
	rest, err := memory("VmRSS")
	fmt.Printf("seconds=%.4f cpu_seconds=%.4f memory_mib=%.1f peak_mib=%.1f entries=%d\n", took.Seconds(), cpu.Seconds(),
		(rest-base)/1024, (most-base)/1024, table.Snapshot().Len())
	return err
}

// memory is a line of /proc/self/status, in KiB.
func memory(name string) (float64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, line, _ := bytes.Cut(status, []byte(name+":"))
	word := bytes.Fields(line)
	if len(word) == 0 {
		return 0, fmt.Errorf("/proc/self/status has no %s", name)
	}
	return strconv.ParseFloat(string(word[0]), 64)
}

func cpuTime() time.Duration {
	var use syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &use) != nil {
		return 0
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// measureLookups is what the program peers does for get.
func measureLookups(path, keyFile string, seconds float64) error {
	const batch = 10
	table, err := openAccess(path)
	if err != nil {
		return err
	}
	keys, err := readKeys(keyFile)
	if err != nil {
		return err
	}
	runtime.GC()
	text, found := table.Snapshot(), 0
	look := func(key string) {
		if _, ok, err := text.Lookup(context.Background(), key); ok && err == nil {
			found++
		}
	}
	for _, key := range keys {
		look(key)
	}
	found = 0
	took := make([]float64, 0, 1<<22)
	start := time.Now()
	for last, at := start, 0; last.Sub(start).Seconds() < seconds && len(took) < cap(took); {
		for range batch {
			look(keys[at])
			if at++; at == len(keys) {
				at = 0
			}
		}
		end := time.Now()
		took = append(took, float64(end.Sub(last))/batch)
		last = end
	}
	n := float64(len(took) * batch)
	mean := float64(time.Since(start)) / n
	slices.Sort(took)
	fmt.Printf("p50_ns=%.1f mean_ns=%.1f found=%.3f\n", took[len(took)/2], mean, float64(found)/n)
	return nil
}

func readKeys(path string) ([]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	keys := strings.Fields(string(b))
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: no keys", path)
	}
	return keys, nil
}

// replaceFile puts a copy of a file in another one's place, as editors do.
func replaceFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	aside := filepath.Join(filepath.Dir(to), "."+filepath.Base(to))
	out, err := os.Create(aside)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close(), os.Rename(aside, to))
}
