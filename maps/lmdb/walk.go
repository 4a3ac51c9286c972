package lmdb

import "bytes"

// Walk gives all entries to yield, in the order of their keys, keys and values as they
// are stored: with the NUL at the end that postmap puts there. data is the whole file,
// read while no writer is at it. Key and value are parts of data and must not be changed.
//
// A file that is damaged is refused, and so is one with named databases or with
// several values of a key: the error says what is wrong and at which page. That may come
// to light after the last entry, so what yield was given counts only when Walk has
// returned nil. An error of yield ends the walk and is returned as it is.
func Walk(data []byte, yield func(key, value []byte) error) error {
	m, err := newestMeta(data)
	if err != nil {
		return err
	}
	if err := m.check(); err != nil {
		return err
	}
	w := &walker{
		data:     data,
		pageSize: m.pageSize,
		pages:    uint64(len(data) / m.pageSize),
		yield:    yield,
	}
	if m.lastPage < w.pages {
		w.pages = m.lastPage + 1 // what follows is not in use
	}
	w.taken = make([]bool, w.pages)
	if m.root != noPage {
		if err := w.walk(m.root, int(m.depth)); err != nil {
			return err
		}
	}
	return w.found.compare(m)
}

// A walker walks over a tree. Each page is taken only once, so that the walk ends
// however the pages point at each other.
type walker struct {
	data     []byte
	pageSize int
	pages    uint64
	taken    []bool
	previous []byte // the key before; empty before the first
	found    counts
	yield    func(key, value []byte) error
}

type counts struct{ branches, leaves, overflows, entries uint64 }

func (c counts) compare(m meta) error {
	if want := (counts{m.branches, m.leaves, m.overflows, m.entries}); c != want {
		return damage(m.page, "the tree has %d entries on %d leaf, %d branch and %d overflow pages, but %d on %d, %d and %d were expected",
			c.entries, c.leaves, c.branches, c.overflows, want.entries, want.leaves, want.branches, want.overflows)
	}
	return nil
}

// take is the page of a number, which must be of this kind.
func (w *walker) take(number uint64, kind uint16) ([]byte, error) {
	if number >= w.pages {
		return nil, damage(number, "a page is missing, only %d are in use", w.pages)
	}
	at := int(number) * w.pageSize
	page := w.data[at : at+w.pageSize]
	switch own, is := little.Uint64(page), little.Uint16(page[10:]); {
	case w.taken[number]:
		return nil, damage(number, "a page has two places in the tree")
	case own != number || is != kind:
		return nil, damage(number, "number %d and kind %#x of a page, %d and %#x (%s) were expected", own, is, number, kind, kindName(kind))
	}
	w.taken[number] = true
	return page, nil
}

// walk walks over the part of the tree under a page; at level 1 are the leaves.
func (w *walker) walk(number uint64, level int) error {
	if level == 1 {
		return w.walkLeaf(number)
	}
	page, err := w.take(number, kindBranch)
	if err != nil {
		return err
	}
	w.found.branches++
	nodes, err := newNodes(page, number)
	if err != nil {
		return err
	}
	for nodes.next() {
		if err := w.walk(nodes.child(), level-1); err != nil {
			return err
		}
	}
	return nodes.err
}

func (w *walker) walkLeaf(number uint64) error {
	page, err := w.take(number, kindLeaf)
	if err != nil {
		return err
	}
	w.found.leaves++
	nodes, err := newNodes(page, number)
	if err != nil {
		return err
	}
	for nodes.next() {
		key := nodes.key()
		if bytes.Compare(w.previous, key) >= 0 { // so is an empty key, which LMDB does not take
			return damage(number, "key %.100q is not after %.100q", key, w.previous)
		}
		value, err := w.value(&nodes)
		if err != nil {
			return err
		}
		w.previous = key
		w.found.entries++
		if err := w.yield(key, value); err != nil {
			return err
		}
	}
	return nodes.err
}

// value is the value of an entry of a leaf.
func (w *walker) value(nodes *nodes) ([]byte, error) {
	switch flags := nodes.flags(); flags {
	case 0:
		return nodes.value()
	case nodeOverflow:
		first, err := nodes.overflow()
		if err != nil {
			return nil, err
		}
		return w.overflow(first, nodes.valueLen())
	case nodeDatabase:
		return nil, damage(nodes.page, "%.100q is a named database, which no postmap writes", nodes.key())
	default:
		return nil, damage(nodes.page, "key %.100q has flags %#x: several values, or damaged", nodes.key(), flags)
	}
}

// overflow is the value of this length on overflow pages, of which only the first has
// a page head.
func (w *walker) overflow(first uint64, length uint32) ([]byte, error) {
	page, err := w.take(first, kindOverflow)
	if err != nil {
		return nil, err
	}
	n := uint64(little.Uint32(page[12:]))
	if need := (pageHead + uint64(length) + uint64(w.pageSize) - 1) / uint64(w.pageSize); n < need {
		return nil, damage(first, "%d overflow pages for a value of %d bytes, which needs %d", n, length, need)
	}
	if n > w.pages-first {
		return nil, damage(first, "%d overflow pages, but only %d are in use from there on", n, w.pages-first)
	}
	for p := first + 1; p < first+n; p++ {
		if w.taken[p] {
			return nil, damage(p, "a page has two places in the tree")
		}
		w.taken[p] = true
	}
	w.found.overflows += n
	at := int(first)*w.pageSize + pageHead
	end := at + int(length)
	return w.data[at:end:end], nil
}
