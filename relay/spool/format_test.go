package spool

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// oldSpool is a copy of a spool that was written by a program that knew only format 1:
// messages in the log and in files of their own, with states in both, one on hold, and
// one that was removed.
func oldSpool(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "spool")
	if err := os.CopyFS(dir, os.DirFS("testdata/format1")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func checkOld(t *testing.T, s *Spool) {
	t.Helper()
	all := s.Messages()
	if len(all) != 5 {
		t.Fatalf("%d messages, want 5", len(all))
	}
	for i, n := range []int{0, 100, 2000, 9000, 700} {
		number := i
		if i == 4 {
			number = 5 // the one before was removed
		}
		e := plainEnvelope(number)
		if i == 1 || i == 3 {
			e.Recipients[0].State, e.Recipients[0].Reply = Failed, "550 5.1.1 no"
			e.Recipients[1].State, e.Recipients[1].Reply = Delivered, "250 ok"
			if all[i].Attempts() != 3 || !all[i].NextTry().Equal(time.Unix(2_000_000_000, 0)) {
				t.Errorf("message %d: attempts %d, next %v", i, all[i].Attempts(), all[i].NextTry())
			}
		}
		if i == 4 {
			e.Hold = "why"
		}
		check(t, all[i], e, text(n))
	}
}

func TestOldFormat(t *testing.T) {
	dir := oldSpool(t)
	s, log := logged(t, dir, small())
	checkOld(t, s)
	if strings.Contains(log.String(), "damaged") || strings.Contains(log.String(), "torn") {
		t.Error(log)
	}
	m := mustPut(t, s, envelope(7), text(10))
	if err := s.Messages()[1].Update(Update{Warned: new(true)}); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s, dir, small())
	if e, err := s.Messages()[1].Envelope(); err != nil || !e.Warned || e.Recipients[0].Reply != "550 5.1.1 no" {
		t.Errorf("%+v, %v", e, err)
	}
	m.Remove()
	if err := s.Messages()[5].Remove(); err != nil {
		t.Fatal(err)
	}
	if format, err := os.ReadFile(filepath.Join(dir, formatName)); err != nil || !strings.HasPrefix(string(format), formatLine+"\n") {
		t.Errorf("format %q, %v", format, err)
	}
}

// TestOldFormatBreaksOff has each operation of the first start on an old spool fail.
func TestOldFormatBreaksOff(t *testing.T) {
	for k, failed := 0, true; failed && k < 100; k++ {
		dir := oldSpool(t)
		d := &faultDisk{disk: dirDisk(dir)}
		o := small()
		o.d = d
		n := 0
		d.set(func(op, name string) error {
			if n++; n == k+1 && !strings.Contains(name, logDir) {
				return unix.EIO
			}
			return nil
		})
		s := &Spool{o: o, d: o.d}
		err := s.prepareDir()
		if failed = err != nil || n > k; err != nil && !errors.Is(err, unix.EIO) {
			t.Fatal(err)
		}
		d.set(nil)
		checkOld(t, open(t, dir, o))
	}
}

// TestNothingGivenTakesNothing: an envelope without what RFC 3461 has, and a state without
// what reports have, are as short as those of format 1.
func TestNothingGivenTakesNothing(t *testing.T) {
	data, err := os.ReadFile("testdata/format1/" + segmentName(1))
	if err != nil {
		t.Fatal(err)
	}
	format, err := os.ReadFile("testdata/format1/" + formatName)
	if err != nil {
		t.Fatal(err)
	}
	old, _, err := readFormat(string(format))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	scan(data, 0, old, 1, func(h *header, head, _ []byte) {
		if h.kind != kindMessage || n == 3 { // the next one is in a file of its own
			return
		}
		e := plainEnvelope(n)
		st := stateOf(&e)
		if again := appendState(appendEnvelope(nil, &e), &st); !bytes.Equal(again, head) {
			t.Errorf("message %d: format 1 had\n%q, now it is\n%q", n, head, again)
		}
		n++
	})
	if n != 3 {
		t.Errorf("%d messages", n)
	}
	e := plainEnvelope(1)
	st := stateOf(&e)
	plain := appendState(appendEnvelope(nil, &e), &st)
	e.Recipients[0].Notify = NotifyFailure
	st = stateOf(&e)
	if n := len(appendState(appendEnvelope(nil, &e), &st)) - len(plain); n != 2 {
		t.Errorf("a NOTIFY takes %d bytes", n)
	}
}

func TestReportsComeBack(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	since := time.Unix(1_800_000_000, 7)
	u := Update{Warned: new(true), Since: &since, Recipients: []Change{
		{Index: 0, State: Reported, Reply: "550 no", Status: "5.7.1"}, {Index: 1, Reply: "450 later", Status: strings.Repeat("4", 20)}}}
	want := envelope(1)
	for _, n := range []int{100, 50_000} {
		m := mustPut(t, s, want, text(n))
		if !m.Since().Equal(want.Arrived) {
			t.Errorf("since %v", m.Since())
		}
		if err := m.Update(u); err != nil {
			t.Fatal(err)
		}
	}
	late := envelope(1)
	late.Since, late.Warned = since, true
	mustPut(t, s, late, nil)
	if err := s.Messages()[0].Update(Update{Recipients: []Change{{Index: 0, State: Reported + 1}}}); err == nil {
		t.Error("a state that is none")
	}
	want.Warned, want.Since = true, since
	want.Recipients[0].State, want.Recipients[0].Reply, want.Recipients[0].Status = Reported, "550 no", "5.7.1"
	want.Recipients[1].Reply, want.Recipients[1].Status = "450 later", strings.Repeat("4", 16)
	for range 3 {
		all := s.Messages()
		for i, n := range []int{100, 50_000} {
			check(t, all[i], want, text(n))
			if d := all[i].Since().Sub(since); d < 0 || d > sinceUnit {
				t.Errorf("since %v", all[i].Since())
			}
		}
		check(t, all[2], late, nil)
		s = reopen(t, s, dir, small())
	}
	for _, m := range s.Messages() {
		if err := m.Update(Update{Since: &time.Time{}, Warned: new(false)}); err != nil {
			t.Fatal(err)
		}
		if e, err := m.Envelope(); err != nil || e.Warned || !e.Since.Equal(e.Arrived) || !m.Since().Equal(m.Arrived()) {
			t.Errorf("%v: %+v", err, e)
		}
	}
}

func TestReportsAreBounded(t *testing.T) {
	s := open(t, t.TempDir(), small())
	for name, change := range map[string]func(*Envelope){
		"RET":    func(e *Envelope) { e.Ret = "ALL" },
		"ENVID":  func(e *Envelope) { e.EnvID = strings.Repeat("x", maxEnvID+1) },
		"ORCPT":  func(e *Envelope) { e.Recipients[1].ORcpt = strings.Repeat("x", maxORcpt+1) },
		"NOTIFY": func(e *Envelope) { e.Recipients[0].Notify = 16 },
		"state":  func(e *Envelope) { e.Recipients[0].State = Reported + 1 },
	} {
		e := envelope(1)
		change(&e)
		if _, err := s.Create(e); err == nil {
			t.Errorf("%s is taken", name)
		}
		st := stateOf(&e)
		if name == "RET" {
			continue // has no form on the disk
		}
		if _, _, err := decodeMessage(appendState(appendEnvelope(nil, &e), &st)); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}
