package bdb

// A level is one level of a tree while its pages are filled from left to right.
type level struct {
	*builder
	typ    byte
	height byte
	root   uint32 // the page to use if the level turns out to have just one; 0: any
	page   filler
	pages  []child
}

// A child is a page as the level above it refers to it.
type child struct {
	no      uint32
	records uint32 // in a tree of values: how many are below
	first   []byte // in a tree of keys: all keys left of the page are less, none in it is
}

// begin begins a page. A leaf follows the one before.
func (l *level) begin(first []byte) {
	no := l.root
	if len(l.pages) > 0 || no == 0 {
		no = l.add(l.typ, l.height)
	} else {
		p := l.image.page(no)
		p[offLevel], p[offType] = l.height, l.typ
	}
	if n := len(l.pages); n > 0 {
		last := &l.pages[n-1]
		if last.no == l.root { // not the only page: the root is above it
			l.vacate(last)
		}
		if l.height == 1 {
			l.link(last.no, no)
		}
	}
	l.page = newFiller(&l.image, no)
	l.pages = append(l.pages, child{no: no, first: first})
}

// vacate moves a page away from the place of the root.
func (l *level) vacate(c *child) {
	no := l.add(l.typ, l.height)
	p := l.image.page(no)
	copy(p, l.image.page(c.no))
	le.PutUint32(p[offNumber:], no)
	clear(l.image.page(c.no)[offPrev:])
	le.PutUint16(l.image.page(c.no)[offFree:], uint16(l.pageSize))
	c.no = no
}

// above makes the levels above l and returns the root.
func (b *builder) above(l *level, typ byte) uint32 {
	for len(l.pages) > 1 {
		up := &level{builder: b, typ: typ, height: l.height + 1, root: l.root}
		for _, c := range l.pages {
			if typ == pageRecnoInner {
				up.putCount(c)
			} else {
				up.putKey(c)
			}
		}
		if typ == pageRecnoInner && len(up.pages) == 1 {
			// The root of such a tree has the number of all its records here.
			le.PutUint32(b.page(up.pages[0].no)[offPrev:], up.pages[0].records)
		}
		l = up
	}
	return l.pages[0].no
}

// putCount refers to a child in a tree of values.
func (l *level) putCount(c child) {
	if len(l.pages) == 0 || l.page.room() < 2+recnoInnerSize {
		l.begin(nil)
	}
	p := l.page.put(recnoInnerSize)
	le.PutUint32(p, c.no)
	le.PutUint32(p[4:], c.records)
	l.pages[len(l.pages)-1].records += c.records
}

// putKey refers to a child in a tree of keys. The key of the first on a page is never
// looked at and left empty.
func (l *level) putKey(c child) {
	key := c.first
	big := len(key) > l.btreeInlineMax()
	size := aligned(btreeInnerHeader + len(key))
	if big {
		size = btreeInnerHeader + btreeOverflowSize
	}
	if len(l.pages) == 0 || l.page.room() < 2+size {
		l.begin(c.first)
		key, big, size = nil, false, btreeInnerHeader
	}
	var first uint32
	if big {
		first = l.overflow(key)
	}
	p := l.page.put(size)
	le.PutUint32(p[4:], c.no)
	if big {
		le.PutUint16(p, btreeOverflowSize)
		p[2] = btreeOverflow
		putBtreeReference(p[btreeInnerHeader:], btreeOverflow, first, uint32(len(key)))
		return
	}
	le.PutUint16(p, uint16(len(key)))
	p[2] = btreeInline
	copy(p[btreeInnerHeader:], key)
}

func putBtreeReference(p []byte, typ byte, first, length uint32) {
	p[2] = typ
	le.PutUint32(p[4:], first)
	le.PutUint32(p[8:], length)
}

// aligned is the size of a btree item with its padding.
func aligned(size int) int { return (size + 3) &^ 3 }

// btreeInlineMax is the longest item that is not put on overflow pages, so that two
// pairs fit on a page, as libdb counts it.
func (b *builder) btreeInlineMax() int { return (b.pageSize-headerSize)/4 - 10 }

// btreeSize is the space that an item takes on a leaf, without its place in the index.
func (b *builder) btreeSize(item []byte) int {
	if len(item) > b.btreeInlineMax() {
		return btreeOverflowSize
	}
	return aligned(btreeInlineHeader + len(item))
}

func (b *builder) putBtreeItem(page *filler, item []byte) {
	if len(item) > b.btreeInlineMax() {
		first := b.overflow(item)
		putBtreeReference(page.put(btreeOverflowSize), btreeOverflow, first, uint32(len(item)))
		return
	}
	p := page.put(b.btreeSize(item))
	le.PutUint16(p, uint16(len(item)))
	p[2] = btreeInline
	copy(p[btreeInlineHeader:], item)
}

// btree makes a tree of full pages. libdb wants the root to be page 1.
func (b *builder) btree() error {
	entries := make([]entry, len(b.records))
	total := 2 * b.pageSize
	for i, r := range b.records {
		entries[i] = b.entry(i, 0)
		total += 4 + b.btreeSize(r.Key) + b.btreeSize(r.Value)
	}
	b.sort(entries)
	b.data = make([]byte, 0, total+total/16)
	b.add(pageBtreeMeta, 0)
	leaves := &level{builder: b, typ: pageBtreeLeaf, height: 1, root: b.add(pageBtreeLeaf, 1)}
	leaves.begin(nil)
	var last []byte
	for len(entries) > 0 {
		n, err := b.run(entries)
		if err != nil {
			return err
		}
		leaves.putPairs(last, entries[:n])
		last = b.key(entries[0])
		entries = entries[n:]
	}
	root := b.above(leaves, pageBtreeInner)
	clear(b.data[:b.pageSize])
	var flags uint32
	if b.duplicates {
		flags = btreeFlagDup
	}
	p := b.meta(magicBtree, flags, pageBtreeMeta)
	le.PutUint32(p[metaMinKey:], 2)
	le.PutUint32(p[metaPad:], ' ')
	le.PutUint32(p[metaRoot:], root)
	return nil
}

// putPairs puts a key and its values on a leaf; last is the key before it. All values
// of a key are on one page, or in a tree of their own if they would take more than a
// quarter of one.
func (l *level) putPairs(last []byte, set []entry) {
	key := l.key(set[0])
	size := l.btreeSize(key)
	for _, e := range set {
		size += 4 + l.btreeSize(l.value(e))
	}
	tree := len(set) > 1 && size > l.pageSize/4
	if tree {
		size = 4 + l.btreeSize(key) + btreeOverflowSize
	}
	if l.page.room() < size {
		l.begin(separator(last, key))
	}
	l.putBtreeItem(&l.page, key)
	if tree {
		root := l.valueTree(set)
		putBtreeReference(l.page.put(btreeOverflowSize), btreeDuplicate, root, 0)
		return
	}
	keyAt := l.page.free
	for i, e := range set {
		if i > 0 {
			l.page.index(keyAt)
		}
		l.putBtreeItem(&l.page, l.value(e))
	}
}

// separator is the shortest key that is greater than left and not greater than right.
func separator(left, right []byte) []byte {
	n := 0
	for n < len(left) && left[n] == right[n] {
		n++
	}
	return right[:n+1]
}

// valueTree makes a tree of the values of a key, in their order, and returns its root.
func (b *builder) valueTree(set []entry) uint32 {
	leaves := &level{builder: b, typ: pageRecnoLeaf, height: 1}
	leaves.begin(nil)
	for _, e := range set {
		if leaves.page.room() < 2+b.btreeSize(b.value(e)) {
			leaves.begin(nil)
		}
		b.putBtreeItem(&leaves.page, b.value(e))
		leaves.pages[len(leaves.pages)-1].records++
	}
	return b.above(leaves, pageRecnoInner)
}
