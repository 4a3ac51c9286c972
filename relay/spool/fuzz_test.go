package spool

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

var fuzzMark = mark{'t', 'e', 's', 't', 'm', 'a', 'r', 'k'}

// segmentOf lays out records as the committer does.
func segmentOf(bodies ...[]byte) []byte {
	s := &Spool{mark: fuzzMark}
	var out []byte
	seq := uint32(0)
	for i, body := range bodies {
		b := &batch{seg: &segment{number: 7}, start: int64(len(out)), seq: seq}
		e := envelope(i)
		st := stateOf(&e)
		head := appendState(appendEnvelope(nil, &e), &st)
		b.states = []written{{m: &Message{id: uint64(i + 1)}, p: &pending{head: appendState(nil, &st)}}}
		b.done = []uint64{uint64(i)}
		b.writers = []*Writer{{
			m:     &Message{},
			head:  header{kind: kindMessage, id: uint64(i + 1), head: uint32(len(head)), headCRC: checksum(head), body: int64(len(body)), bodyCRC: checksum(body)},
			parts: [][]byte{append(make([]byte, headerSize), head...), body},
		}}
		s.layOut(b)
		for _, p := range b.parts {
			out = append(out, p...)
		}
		seq = b.seq
	}
	return out
}

func FuzzScan(f *testing.F) {
	whole := segmentOf(text(10), text(5000), nil, text(3))
	f.Add(whole)
	f.Add(whole[:6000])
	f.Add(bytes.Replace(whole, text(3), []byte("xyz"), 1))
	f.Add(append(append(append([]byte(nil), whole[:4096]...), make([]byte, 4096)...), whole[8192:]...))
	f.Add(append(segmentOf(text(1)), whole...))
	f.Fuzz(func(t *testing.T, data []byte) {
		last, next := int64(0), uint32(0)
		end, gaps := scan(data, 0, fuzzMark, 7, func(h *header, head, body []byte) {
			if int64(h.at) < last || h.seq < next {
				t.Fatalf("record %d at %d comes after %d at %d", h.seq, h.at, next, last)
			}
			if checksum(head) != h.headCRC && h.kind != kindEnd || checksum(body) != h.bodyCRC && h.kind != kindEnd {
				t.Fatal("a record that is not whole")
			}
			last, next = int64(h.at)+h.size(), h.seq+1
			r := &recovery{s: &Spool{o: Options{Log: small().Log}}, ends: map[uint64]end{}}
			r.note(&scanned{segment: &segment{}}, h, head)
		})
		if end != last {
			t.Fatalf("end %d, but the last record ends at %d", end, last)
		}
		for _, g := range gaps {
			if g.from >= g.to || g.to > int64(len(data)) {
				t.Fatalf("gap %+v of %d bytes", g, len(data))
			}
		}
	})
}

func FuzzEnvelope(f *testing.F) {
	e := envelope(1)
	st := stateOf(&e)
	f.Add(appendState(appendEnvelope(nil, &e), &st))
	f.Add([]byte{})
	e = envelope(4)
	st = stateOf(&e)
	f.Add(appendState(appendEnvelope(nil, &e), &st))
	e.Warned, e.Since = true, time.Unix(1_800_000_000, 1)
	e.Recipients[0].State, e.Recipients[0].Reply, e.Recipients[0].Status = Reported, "550 no", "5.7.1"
	st = stateOf(&e)
	f.Add(appendState(appendEnvelope(nil, &e), &st))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, st, err := decodeMessage(data)
		if err != nil {
			if _, _, skimmed := skimMessage(data); skimmed == nil {
				t.Fatal(err)
			}
			return
		}
		if arrived, b, err := skimMessage(data); err != nil || arrived != nanos(e.Arrived) || b != st.brief() {
			t.Fatalf("skimmed: %v, %+v, %v", arrived, b, err)
		}
		again, st2, err := decodeMessage(appendState(appendEnvelope(nil, &e), &st))
		if err != nil || !reflect.DeepEqual(again, e) || !reflect.DeepEqual(st2, st) {
			t.Fatalf("%v: %+v became %+v", err, e, again)
		}
		if _, err := e.with(&st); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzOwnFile opens a spool with a hostile file of a message's own.
func FuzzOwnFile(f *testing.F) {
	e := envelope(1)
	st := stateOf(&e)
	record := appendState(appendEnvelope(make([]byte, headerSize), &e), &st)
	h := header{kind: kindMessage, id: 5, head: uint32(len(record) - headerSize), headCRC: checksum(record[headerSize:]), body: 3, bodyCRC: checksum(text(3))}
	h.put(record, fuzzMark)
	file := append(record, text(3)...)
	f.Add(file)
	added := appendState(make([]byte, headerSize), &st)
	h = header{kind: kindState, id: 5, head: uint32(len(added) - headerSize), headCRC: checksum(added[headerSize:]), at: page}
	h.put(added, fuzzMark)
	f.Add(append(append(file, make([]byte, page-len(file))...), added...))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		name := filepath.Join(dir, "own")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s := &Spool{mark: fuzzMark, d: dirDisk(dir), o: small()}
		file, err := s.d.open("own")
		if err != nil {
			t.Fatal(err)
		}
		defer file.close()
		m, err := (&recovery{s: s}).loadOwn(file, 5, make([]byte, firstRead))
		if err == nil && (m.size > int64(len(data)) || m.latest().off > int64(len(data))) {
			t.Fatalf("size %d, state %d of %d bytes", m.size, m.latest().off, len(data))
		}
	})
}
