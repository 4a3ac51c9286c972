package bdb

import "math/bits"

// charKey is what a file says the hash of, so that a reader can tell another function.
const charKey = "%$sniglet^&\x00"

// hashKey is Berkeley DB's hash of a key: Fowler, Noll and Vo's, beginning with zero.
func hashKey(key []byte) uint32 {
	var h uint32
	for _, c := range key {
		h = h*16777619 ^ uint32(c)
	}
	return h
}

// hash makes a table whose buckets are full to three quarters at most on average. Page
// n+1 is the first of bucket n; what does not fit there, and the overflow pages, follow.
func (b *builder) hash() error {
	buckets := b.buckets()
	pages := int(buckets) + 1
	b.data = make([]byte, 0, (pages+pages/16)*b.pageSize)
	for range pages {
		b.add(pageHash, 0)
	}
	entries := make([]entry, len(b.records))
	for i, r := range b.records {
		group := hashKey(r.Key) % buckets * 2
		if b.hashBig(r.Key) {
			group++
		}
		entries[i] = b.entry(i, group)
	}
	b.sort(entries)
	for len(entries) > 0 {
		n := 1
		for n < len(entries) && entries[n].group/2 == entries[0].group/2 {
			n++
		}
		if err := b.bucket(entries[:n]); err != nil {
			return err
		}
		entries = entries[n:]
	}
	clear(b.data[:b.pageSize])
	var flags uint32
	if b.duplicates {
		flags = hashFlagDup
	}
	p := b.meta(magicHash, flags, pageHashMeta)
	le.PutUint32(p[metaMaxBucket:], buckets-1)
	le.PutUint32(p[metaHighMask:], buckets-1)
	le.PutUint32(p[metaLowMask:], buckets/2-1)
	le.PutUint32(p[metaKeys:], uint32(len(b.records)))
	le.PutUint32(p[metaCharKey:], hashKey([]byte(charKey)))
	for i := range bits.Len32(buckets) {
		le.PutUint32(p[metaSpares+4*i:], 1)
	}
	return nil
}

// buckets is how many buckets the table gets, a power of two.
func (b *builder) buckets() uint32 {
	var total uint64
	for _, r := range b.records {
		total += uint64(b.hashSize(r.Key) + b.hashSize(r.Value))
	}
	perBucket := uint64(b.pageSize-headerSize) * 3 / 4
	buckets := uint32(2)
	for uint64(buckets)*perBucket < total {
		buckets *= 2
	}
	return buckets
}

// hashBig tells items that go on overflow pages.
func (b *builder) hashBig(item []byte) bool { return len(item) > b.pageSize/4 }

// hashSize is the space that an item takes on a hash page.
func (b *builder) hashSize(item []byte) int {
	if b.hashBig(item) {
		return 2 + hashOverflowSize
	}
	return 2 + 1 + len(item)
}

// bucket writes a bucket's pages. Keys on overflow pages come last and on pages without
// others: db_verify compares the two sorts wrongly.
func (b *builder) bucket(entries []entry) error {
	page := newFiller(&b.image, 1+entries[0].group/2)
	group := entries[0].group
	for len(entries) > 0 {
		n, err := b.run(entries)
		if err != nil {
			return err
		}
		key := b.key(entries[0])
		if entries[0].group != group || page.room() < b.hashSize(key)+b.hashValuesSize(entries[:n]) {
			group = entries[0].group
			next := b.add(pageHash, 0)
			b.link(page.no, next)
			page = newFiller(&b.image, next)
		}
		b.putHashItem(&page, key)
		b.putHashValues(&page, entries[:n])
		entries = entries[n:]
	}
	return nil
}

// hashDuplicatesSize is the size of a set of values on the page, or 0 if they have to be
// in a tree of their own.
func (b *builder) hashDuplicatesSize(set []entry) int {
	size := 1
	for _, e := range set {
		if size += 4 + len(b.value(e)); size > b.pageSize/4 {
			return 0
		}
	}
	return size
}

func (b *builder) hashValuesSize(set []entry) int {
	if len(set) == 1 {
		return b.hashSize(b.value(set[0]))
	}
	if size := b.hashDuplicatesSize(set); size > 0 {
		return 2 + size
	}
	return 2 + hashOffDupSize
}

func (b *builder) putHashItem(page *filler, item []byte) {
	if !b.hashBig(item) {
		p := page.put(1 + len(item))
		p[0] = hashInline
		copy(p[1:], item)
		return
	}
	first := b.overflow(item)
	p := page.put(hashOverflowSize)
	p[0] = hashOverflow
	le.PutUint32(p[4:], first)
	le.PutUint32(p[8:], uint32(len(item)))
}

func (b *builder) putHashValues(page *filler, set []entry) {
	if len(set) == 1 {
		b.putHashItem(page, b.value(set[0]))
		return
	}
	size := b.hashDuplicatesSize(set)
	if size == 0 {
		root := b.valueTree(set)
		p := page.put(hashOffDupSize)
		p[0] = hashOffDup
		le.PutUint32(p[4:], root)
		return
	}
	p := page.put(size)
	p[0] = hashDuplicate
	p = p[1:]
	for _, e := range set {
		v := b.value(e)
		le.PutUint16(p, uint16(len(v)))
		copy(p[2:], v)
		le.PutUint16(p[2+len(v):], uint16(len(v)))
		p = p[4+len(v):]
	}
}
