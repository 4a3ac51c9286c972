package lmdb

import (
	"cmp"
	"slices"
)

type record struct{ key, value string }

// builder makes files of any page size. TestPeersReadBuilt has LMDB itself read them.
type builder struct {
	pageSize int
	data     []byte
	meta     meta
}

// build makes a file of records, which have different keys.
func build(pageSize int, records []record) []byte {
	records = slices.SortedFunc(slices.Values(records), func(a, b record) int { return cmp.Compare(a.key, b.key) })
	b := &builder{pageSize: pageSize, data: make([]byte, 2*pageSize), meta: meta{root: noPage, entries: uint64(len(records))}}
	if len(records) > 0 {
		b.tree(records)
	}
	b.putMeta(0, meta{root: noPage, lastPage: 1})
	b.meta.transaction, b.meta.lastPage = 1, b.pages()-1
	b.putMeta(1, b.meta)
	return b.data
}

func (b *builder) pages() uint64 { return uint64(len(b.data) / b.pageSize) }

func (b *builder) putMeta(page uint64, m meta) {
	p := b.data[int(page)*b.pageSize:]
	little.PutUint64(p, page)
	little.PutUint16(p[10:], kindMeta)
	little.PutUint32(p[16:], magic)
	little.PutUint32(p[20:], dataVersion)
	little.PutUint64(p[32:], 1<<24) // size of the memory map
	little.PutUint32(p[40:], uint32(b.pageSize))
	little.PutUint16(p[44:], 0x08) // free pages have numbers as keys
	little.PutUint64(p[80:], noPage)
	little.PutUint16(p[94:], m.depth)
	for i, n := range []uint64{m.branches, m.leaves, m.overflows, m.entries, m.root, m.lastPage, m.transaction} {
		little.PutUint64(p[96+8*i:], n)
	}
}

// add appends n pages, the first of which has a head.
func (b *builder) add(n int, kind uint16) (page []byte, number uint64) {
	number = b.pages()
	b.data = append(b.data, make([]byte, n*b.pageSize)...)
	page = b.data[int(number)*b.pageSize:]
	little.PutUint64(page, number)
	little.PutUint16(page[10:], kind)
	return page, number
}

// node is what is on a page, with the key that its page begins with.
type node struct {
	key   string
	bytes []byte
}

func newNode(value uint32, high, flags uint16, key, data string) node {
	b := little.AppendUint32(nil, value)
	b = little.AppendUint16(b, high|flags)
	b = little.AppendUint16(b, uint16(len(key)))
	b = append(append(b, key...), data...)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	return node{key, b}
}

func (b *builder) tree(records []record) {
	var level []node
	for _, r := range records {
		level = append(level, b.entry(r))
	}
	kind, count := uint16(kindLeaf), &b.meta.leaves
	for {
		b.meta.depth++
		pages := b.fillPages(level, kind)
		*count += uint64(len(pages))
		if len(pages) == 1 {
			b.meta.root = uint64(little.Uint32(pages[0].bytes))
			return
		}
		level = pages
		kind, count = kindBranch, &b.meta.branches
	}
}

// entry has a long value on overflow pages, as LMDB does if not even two would fit on a leaf.
func (b *builder) entry(r record) node {
	if nodeHead+len(r.key)+len(r.value) <= (b.pageSize-pageHead)/2-pointerSize {
		return newNode(uint32(len(r.value)), 0, 0, r.key, r.value)
	}
	n := (pageHead + len(r.value) + b.pageSize - 1) / b.pageSize
	page, number := b.add(n, kindOverflow)
	little.PutUint32(page[12:], uint32(n))
	copy(page[pageHead:], r.value)
	b.meta.overflows += uint64(n)
	return newNode(uint32(len(r.value)), 0, nodeOverflow, r.key, string(little.AppendUint64(nil, number)))
}

// fillPages puts nodes on pages, and gives the nodes of the branches above them.
func (b *builder) fillPages(nodes []node, kind uint16) []node {
	var parents []node
	for len(nodes) > 0 {
		page, number := b.add(1, kind)
		lower, upper, n := pageHead, b.pageSize, 0
		for _, node := range nodes {
			if kind == kindBranch && n == 0 {
				node = newNode(little.Uint32(node.bytes), 0, 0, "", "") // the first key of a branch is not written
			}
			if upper-len(node.bytes) < lower+pointerSize {
				break
			}
			upper -= len(node.bytes)
			copy(page[upper:], node.bytes)
			little.PutUint16(page[lower:], uint16(upper))
			lower += pointerSize
			n++
		}
		little.PutUint16(page[12:], uint16(lower))
		little.PutUint16(page[14:], uint16(upper))
		parents = append(parents, newNode(uint32(number), 0, 0, nodes[0].key, ""))
		nodes = nodes[n:]
	}
	return parents
}
