package maps

import "encoding/binary"

// NewPairs makes a snapshot of a database: of the pairs that walk yields, of any
// bytes. file names it in sources and errors; its entries have no line. yield
// copies what it is given, so walk may use its buffers again; when yield returns
// an error, walk must end and return it. An error of walk is returned as it is.
//
// Keys are compared without regard to ASCII case, as in all tables. Of the same
// key more than once the first counts; that, and an empty key, which no lookup can
// ask for, are problems of the table. More than 4 GiB - 1 is an error.
func NewPairs(file string, walk func(yield func(key, value []byte) error) error) (*Text, error) {
	return makePairs(file, walk, making{})
}

func makePairs(file string, walk func(yield func(key, value []byte) error) error, how making) (*Text, error) {
	p := pairs{file: file, expect: how.size}
	err := walk(p.add)
	if err == nil {
		err = p.err
	}
	if err != nil {
		return nil, err
	}
	t := newText(file, formatPairs, p.join())
	if err := t.build(p.chunks, how); err != nil {
		return nil, err
	}
	return t, nil
}

// pairs collects the pairs of a database: for each one the length of the key, the
// key, the length of the value, the value. Lengths are varints. Blocks, and not one
// text that grows, spare the memory of its outgrown copies.
type pairs struct {
	file   string
	expect int64    // what all pairs take at most, if they are as expected: then there is one block
	blocks [][]byte // each of whole pairs
	chunks []chunk  // parts of the blocks: where they will stand
	size   int64
	err    error
}

// pairSize is how many bytes a pair takes.
func pairSize(key, value []byte) int64 {
	var b [2 * binary.MaxVarintLen64]byte
	lengths := binary.PutUvarint(b[:], uint64(len(key)))
	lengths += binary.PutUvarint(b[lengths:], uint64(len(value)))
	return int64(lengths + len(key) + len(value))
}

func (p *pairs) add(key, value []byte) error {
	need := pairSize(key, value)
	last := len(p.blocks) - 1
	if last < 0 || int64(cap(p.blocks[last])-len(p.blocks[last])) < need {
		block := make([]byte, max(chunkSize, need, p.expect))
		inLargePages(block)
		p.blocks = append(p.blocks, block[:0])
		p.chunks = append(p.chunks, chunk{from: int(p.size), to: int(p.size)})
		last++
	} else if at := p.chunks[len(p.chunks)-1]; at.to-at.from >= chunkSize {
		p.chunks = append(p.chunks, chunk{from: int(p.size), to: int(p.size)})
	}
	b := p.blocks[last]
	b = append(binary.AppendUvarint(b, uint64(len(key))), key...)
	b = append(binary.AppendUvarint(b, uint64(len(value))), value...)
	p.size += int64(len(b) - len(p.blocks[last]))
	if p.err = checkSize(p.file, p.size); p.err != nil {
		return p.err
	}
	p.blocks[last] = b
	here := &p.chunks[len(p.chunks)-1]
	here.to, here.entries = int(p.size), here.entries+1
	return nil
}

// join gives all pairs in one piece, and lets go of the blocks.
func (p *pairs) join() string {
	all := make([]byte, p.size)
	inLargePages(all)
	at := 0
	for i, block := range p.blocks {
		at += copy(all[at:], block)
		p.blocks[i] = nil
	}
	return asString(all) // nobody else has it
}

// pairAt is the pair that begins at pos, and where the next one begins.
func pairAt(data string, pos int) (key, value string, next int) {
	size, pos := varintAt(data, pos)
	key, pos = data[pos:pos+size], pos+size
	size, pos = varintAt(data, pos)
	return key, data[pos : pos+size], pos + size
}

func varintAt(data string, pos int) (n, next int) {
	for shift := 0; ; shift += 7 {
		c := data[pos]
		pos++
		n |= int(c&0x7f) << shift
		if c < 0x80 {
			return n, pos
		}
	}
}

func (s *scanner) scanPairs(data string, c chunk) {
	for pos := c.from; pos < c.to; {
		key, value, next := pairAt(data, pos)
		if key == "" {
			s.skip(fault{kind: pairWithoutKey, offset: pos})
		} else if !s.entry(0, pos, key, value) {
			return
		}
		pos = next
	}
}
