package bdb

import "slices"

// Types of items on btree pages, their third byte. On leaves, an inline item is its
// length (two bytes), the type, the content; the others are two bytes unused, the type,
// a byte unused, a page and a length (each four bytes).
const (
	btreeInline    = 1
	btreeDuplicate = 2 // the values are in a tree of their own
	btreeOverflow  = 3
	btreeDeleted   = 0x80 // a flag

	btreeInlineHeader = 3
	btreeOverflowSize = 12

	// An inner item is a length, the type, a byte unused, the child, the number of
	// records below it if they are counted, the content.
	btreeInnerHeader = 12
	// An inner item of a tree of values is the child and the number of values in it.
	recnoInnerSize = 8
)

// leaves calls leaf for each leaf of a tree, from left to right. It goes down the left
// edge and then from leaf to leaf; types are those of the pages it may meet.
func (w *walker) leaves(from, root uint32, leaf func(page) error, types ...byte) error {
	for no := root; no != 0; {
		p, err := w.visit(from, no)
		if err != nil {
			return err
		}
		if !slices.Contains(types, p.typ) {
			return pageErrorf(p.no, "is of type %d, which does not belong here", p.typ)
		}
		from = p.no
		if p.typ == pageBtreeInner || p.typ == pageRecnoInner {
			if no, err = w.firstChild(p); err != nil {
				return err
			}
			continue
		}
		if err := leaf(p); err != nil {
			return err
		}
		no = p.next
	}
	if root == 0 {
		return pageErrorf(from, "has a tree without a root")
	}
	return nil
}

func (w *walker) firstChild(p page) (uint32, error) {
	if p.entries == 0 {
		return 0, pageErrorf(p.no, "has no children")
	}
	at, size := w.offset(p, 0)+4, btreeInnerHeader-4
	if p.typ == pageRecnoInner {
		at, size = w.offset(p, 0), recnoInnerSize
	}
	if at+size > w.pageSize {
		return 0, pageErrorf(p.no, "item offset %d is outside of the page", w.offset(p, 0))
	}
	child := w.u32(p.data[at:])
	if child == 0 {
		return 0, pageErrorf(p.no, "has a child at page 0")
	}
	return child, nil
}

// btreeItem is an item of a leaf.
type btreeItem struct {
	typ     byte
	deleted bool
	content []byte // inline
	first   uint32 // otherwise: the page it begins at
	length  uint32 // its length, when it is an overflow item
	size    int    // bytes that it takes on the page
}

func (w *walker) btreeItem(p page, i int) (btreeItem, error) {
	at := w.offset(p, i)
	if at < w.header+2*p.entries || at+btreeInlineHeader > w.pageSize {
		return btreeItem{}, pageErrorf(p.no, "item offset %d is outside of the page", at)
	}
	b := p.data[at:]
	item := btreeItem{typ: b[2] &^ btreeDeleted, deleted: b[2]&btreeDeleted != 0}
	switch item.typ {
	case btreeInline:
		item.size = btreeInlineHeader + w.u16(b)
		if item.size > len(b) {
			return item, pageErrorf(p.no, "the item at offset %d reaches over the end of the page", at)
		}
		item.content = b[btreeInlineHeader:item.size:item.size]
	case btreeOverflow, btreeDuplicate:
		item.size = btreeOverflowSize
		if item.size > len(b) {
			return item, pageErrorf(p.no, "the item at offset %d reaches over the end of the page", at)
		}
		item.first, item.length = w.u32(b[4:]), w.u32(b[8:])
	default:
		return item, pageErrorf(p.no, "an item of type %d cannot be read", item.typ)
	}
	return item, nil
}

// content is the content of an item that is no reference to a tree.
func (w *walker) content(p page, item btreeItem) ([]byte, error) {
	switch item.typ {
	case btreeInline:
		return item.content, nil
	case btreeOverflow:
		return w.overflow(p.no, item.first, item.length)
	}
	return nil, pageErrorf(p.no, "has a tree of values where a single one belongs")
}

// btreeLeaf yields the pairs of a leaf. Pairs with the same key share it.
func (w *walker) btreeLeaf(p page) error {
	if p.entries%2 != 0 {
		return pageErrorf(p.no, "has a key without a value")
	}
	var key []byte
	keyAt, room := -1, w.pageSize-w.header-2*p.entries
	for i := 0; i < p.entries; i += 2 {
		value, err := w.btreeItem(p, i+1)
		if err != nil {
			return err
		}
		room -= value.size
		if value.deleted {
			continue
		}
		if at := w.offset(p, i); at != keyAt {
			item, err := w.btreeItem(p, i)
			if err != nil {
				return err
			}
			if key, err = w.content(p, item); err != nil {
				return err
			}
			keyAt = at
			room -= item.size
		}
		if room < 0 {
			return pageErrorf(p.no, "its items overlap")
		}
		if err := w.btreeValues(p, key, value); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) btreeValues(p page, key []byte, item btreeItem) error {
	if item.typ == btreeDuplicate {
		return w.duplicates(p.no, item.first, key)
	}
	value, err := w.content(p, item)
	if err != nil {
		return err
	}
	return w.yield(key, value)
}

// duplicates yields the values of a key that has so many that they are in a tree of
// their own: sorted, or in the order in which they came (a recno tree).
func (w *walker) duplicates(from, root uint32, key []byte) error {
	return w.leaves(from, root, func(p page) error {
		room := w.pageSize - w.header - 2*p.entries
		for i := range p.entries {
			item, err := w.btreeItem(p, i)
			if err != nil {
				return err
			}
			if room -= item.size; room < 0 {
				return pageErrorf(p.no, "its items overlap")
			}
			if item.deleted {
				continue
			}
			value, err := w.content(p, item)
			if err != nil {
				return err
			}
			if err := w.yield(key, value); err != nil {
				return err
			}
		}
		return nil
	}, pageBtreeInner, pageRecnoInner, pageDupLeaf, pageRecnoLeaf)
}
