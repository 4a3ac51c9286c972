package maps

import "strings"

// A filler brings the entries of a table into its slots: read is for many
// goroutines and finds and hashes the entries of a chunk, fill is for one and
// takes them chunk by chunk, in the order of the file. So the first of a key's
// entries stays and problems come in order, however many goroutines there are.
type filler struct {
	text     *Text
	check    func(key, value string) error // may be nil
	warnedCR bool
	doubtful bool // check refused an entry, perhaps one that does not count
	touched  uint64
}

// A batch is what was read from a chunk. Batches are used again.
type batch struct {
	entries  []hashed
	faults   []fault // the first ones
	skipped  int     // number of faults that are not among them
	returns  bool    // there are values that end in a carriage return
	doubtful bool
	lower    lowerer

	number   int // which chunk
	panicked any // what work ended with
}

type hashed struct {
	hash   uint64
	offset uint32
}

func (f *filler) read(c chunk, b *batch) {
	b.entries, b.faults = b.entries[:0], b.faults[:0]
	b.skipped, b.returns, b.doubtful = 0, false, false
	s := scanner{format: f.text.format, fault: b.addFault}
	s.entry = func(_, offset int, key, value string) bool {
		b.entries = append(b.entries, hashed{foldHash(f.text.seed, key), uint32(offset)})
		b.returns = b.returns || f.text.format == FormatAccess && strings.HasSuffix(value, "\r")
		if f.check != nil && !b.doubtful && f.check(b.lower.lower(key), value) != nil {
			b.doubtful = true
		}
		return true
	}
	s.scan(f.text.data, c)
}

func (b *batch) addFault(f fault) {
	if len(b.faults) < maxProblems {
		b.faults = append(b.faults, f)
	} else {
		b.skipped++
	}
}

func (f *filler) fill(b *batch) {
	t, faults := f.text, b.faults
	f.touch(b)
	for _, e := range b.entries {
		for len(faults) > 0 && faults[0].offset <= int(e.offset) {
			t.addProblem(faults[0])
			faults = faults[1:]
		}
		key := t.keyAt(int(e.offset))
		if first, seen := t.find(e.hash, key); seen {
			f.seenAgain(first, int(e.offset), key)
			continue
		}
		t.slots.put(e.hash, e.offset)
		t.entries++
		if b.returns && !f.warnedCR {
			f.warnReturn(int(e.offset), key)
		}
	}
	for _, rest := range faults {
		t.addProblem(rest)
	}
	t.skipped += b.skipped
	f.doubtful = f.doubtful || b.doubtful
}

// touch has the groups that fill will look at brought into the cache: here the
// processor can wait for many at a time.
func (f *filler) touch(b *batch) {
	for _, e := range b.entries {
		g, _ := f.text.slots.home(e.hash)
		f.touched |= f.text.slots[g].tags[0]
	}
}

// seenAgain notes an entry whose key stands first elsewhere.
func (f *filler) seenAgain(first, offset int, key string) {
	t := f.text
	t.again++
	switch t.format {
	case FormatAccess:
		t.addProblem(fault{kind: keySeen, line: t.lineAt(offset), word: key, n: t.lineAt(first)})
	case formatPairs:
		t.addProblem(fault{kind: pairSeen, word: key})
	case FormatClass: // harmless
	}
}

// warnReturn notes a value that ends in a carriage return, if this one does.
func (f *filler) warnReturn(offset int, key string) {
	if strings.HasSuffix(f.text.valueAt(offset, len(key)), "\r") {
		f.warnedCR = true
		f.text.addProblem(fault{kind: carriageReturn, line: f.text.lineAt(offset), word: key})
	}
}
