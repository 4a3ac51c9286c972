package lmdb

// nodes goes through the nodes of a branch or leaf page: those of a leaf are entries,
// those of a branch point to other pages.
type nodes struct {
	data        []byte
	page        uint64 // number of the page
	upper, left int    // where the nodes begin, and how many bytes they may have yet
	n, i        int    // how many nodes, and how many were reached
	node        []byte // the node reached, up to the end of the page
	used        int    // bytes of it that were looked at
	err         error
}

// newNodes checks the head of a page.
func newNodes(data []byte, page uint64) (nodes, error) {
	lower, upper := int(little.Uint16(data[12:])), int(little.Uint16(data[14:]))
	if lower <= pageHead || lower > upper || upper > len(data) || lower%pointerSize != 0 {
		return nodes{}, damage(page, "free room from byte %d to %d of the page cannot be", lower, upper)
	}
	return nodes{data: data, page: page, upper: upper, left: len(data) - upper, n: (lower - pageHead) / pointerSize}, nil
}

// next goes to the next node and checks its head and key. It is false at the end, and
// when err is set.
func (s *nodes) next() bool {
	if s.i == s.n || s.err != nil {
		return false
	}
	at := int(little.Uint16(s.data[pageHead+pointerSize*s.i:]))
	if at < s.upper || at > len(s.data)-nodeHead {
		s.err = damage(s.page, "node %d at byte %d of the page cannot be", s.i, at)
		return false
	}
	s.i++
	s.node, s.used = s.data[at:], 0
	s.err = s.use(nodeHead + s.keyLen())
	return s.err == nil
}

// use notes that the node reached has n bytes more, from its head to its value.
func (s *nodes) use(n int) error {
	s.used += n
	if s.used > len(s.node) {
		return damage(s.page, "node %d ends beyond the page", s.i-1)
	}
	if s.left -= n; s.left < 0 {
		return damage(s.page, "the nodes lie within each other")
	}
	return nil
}

func (s *nodes) keyLen() int { return int(little.Uint16(s.node[6:])) }

func (s *nodes) key() []byte {
	end := nodeHead + s.keyLen()
	return s.node[nodeHead:end:end]
}

func (s *nodes) flags() uint16 { return little.Uint16(s.node[4:]) }

// child is the page that a node of a branch points to.
func (s *nodes) child() uint64 { return little.Uint64(s.node) & (1<<48 - 1) }

// valueLen is the length of the value of an entry, wherever the value is.
func (s *nodes) valueLen() uint32 { return little.Uint32(s.node) }

// value is the value of an entry that has it on the page.
func (s *nodes) value() ([]byte, error) {
	if s.valueLen() > uint32(len(s.data)) {
		return nil, damage(s.page, "a value of %d bytes ends beyond the page", s.valueLen())
	}
	return s.bytes(int(s.valueLen()))
}

// overflow is the number of the page with the value of an entry.
func (s *nodes) overflow() (uint64, error) {
	number, err := s.bytes(8)
	if err != nil {
		return 0, err
	}
	return little.Uint64(number), nil
}

// bytes are the n bytes after the key.
func (s *nodes) bytes(n int) ([]byte, error) {
	start := s.used
	if err := s.use(n); err != nil {
		return nil, err
	}
	return s.node[start:s.used:s.used], nil
}
