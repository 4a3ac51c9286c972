package lmdb

const (
	magic       = 0xbeefc0de
	dataVersion = 1
	noPage      = ^uint64(0) // the root of an empty tree
	metaSize    = 152
)

// meta is what a meta page says.
type meta struct {
	page        uint64 // its own number: 0 or 1
	pageSize    int
	flags       uint16 // of the main database: order of keys, several values of a key
	depth       uint16
	branches    uint64
	leaves      uint64
	overflows   uint64
	entries     uint64
	root        uint64
	lastPage    uint64
	transaction uint64
}

// newestMeta is the meta page that counts. Both must be sound, as LMDB has it: a
// writer changes one of them, in place, at the very end of a transaction.
func newestMeta(data []byte) (meta, error) {
	first, err := readMeta(data, 0)
	if err != nil {
		return meta{}, err
	}
	if len(data)%first.pageSize != 0 {
		return meta{}, damage(uint64(len(data)/first.pageSize), "the file ends within a page of %d bytes", first.pageSize)
	}
	second, err := readMeta(data[first.pageSize:], 1)
	if err != nil {
		return meta{}, err
	}
	if second.pageSize != first.pageSize {
		return meta{}, damage(1, "a page size of %d bytes, but page 0 has %d", second.pageSize, first.pageSize)
	}
	newest, other := first, second
	if second.transaction > first.transaction {
		newest, other = second, first
	}
	// Transactions change the pages in turn, from 1 on, those with odd numbers page 1.
	if n := newest.transaction; n != 0 && (n-1 != other.transaction || n%2 != newest.page) {
		return meta{}, damage(newest.page, "transactions %d and %d, which do not follow each other", first.transaction, second.transaction)
	}
	if newest.lastPage < other.lastPage {
		return meta{}, damage(newest.page, "%d pages in use after %d, they never become fewer", newest.lastPage+1, other.lastPage+1)
	}
	return newest, nil
}

// readMeta reads the meta page that data begins with.
func readMeta(data []byte, page uint64) (meta, error) {
	if len(data) < metaSize {
		return meta{}, damage(page, "the file ends within the meta page")
	}
	number, kind := little.Uint64(data), little.Uint16(data[10:])
	if little.Uint32(data[16:]) != magic || number != page || kind != kindMeta {
		return meta{}, damage(page, "no meta page of LMDB (64-bit, little-endian)")
	}
	if v := little.Uint32(data[20:]); v != dataVersion {
		return meta{}, damage(page, "data version %d of LMDB, %d was expected", v, dataVersion)
	}
	// At 24 are addresses of memory, at 40 the database of free pages, whose first
	// field is the page size, at 88 the main database.
	m := meta{
		page:        page,
		flags:       little.Uint16(data[92:]),
		depth:       little.Uint16(data[94:]),
		branches:    little.Uint64(data[96:]),
		leaves:      little.Uint64(data[104:]),
		overflows:   little.Uint64(data[112:]),
		entries:     little.Uint64(data[120:]),
		root:        little.Uint64(data[128:]),
		lastPage:    little.Uint64(data[136:]),
		transaction: little.Uint64(data[144:]),
	}
	size := little.Uint32(data[40:])
	if size < minPageSize || size > maxPageSize || size&(size-1) != 0 {
		return meta{}, damage(page, "a page size of %d bytes, a power of 2 from %d to %d was expected", size, minPageSize, maxPageSize)
	}
	m.pageSize = int(size)
	if m.transaction == 0 && (m.root != noPage || m.entries != 0 || m.lastPage != 1) {
		return meta{}, damage(page, "a database before its first transaction that is not empty")
	}
	return m, nil
}

// check refuses what is no table of keys with one value each.
func (m meta) check() error {
	if m.flags != 0 {
		return damage(m.page, "the main database has flags %#x: keys in another order or with several values, which no postmap writes", m.flags)
	}
	if m.root == noPage {
		if m.entries != 0 || m.depth != 0 {
			return damage(m.page, "a tree of %d entries and %d levels has no root", m.entries, m.depth)
		}
		return nil
	}
	if m.depth == 0 || m.depth > maxDepth {
		return damage(m.page, "the tree has %d levels, 1 to %d were expected", m.depth, maxDepth)
	}
	return nil
}
