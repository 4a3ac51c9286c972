package maps

import "strings"

const (
	// lineBlock is how many bytes lie between two marks of the line index: two lines
	// of the processor's cache.
	lineBlock = 128
	// lineSpan is how many bytes share one full line number. Fewer than 1<<16 lines
	// begin in it, less one block.
	lineSpan = 1 << 16
)

// lineIndex tells which line an offset is in, at the price of 1.6 % of the text.
// It is kept small so that it stays in the processor's cache.
type lineIndex struct {
	spans  []uint32 // number of the line at every lineSpan-th byte
	blocks []uint16 // at every lineBlock-th byte, less that of its span
}

func newLineIndex(size int) lineIndex {
	return lineIndex{
		spans:  make([]uint32, (size+lineSpan-1)/lineSpan),
		blocks: make([]uint16, (size+lineBlock-1)/lineBlock),
	}
}

// count notes the lines of one span. Spans may be counted at the same time;
// number then makes line numbers of the counts.
func (x lineIndex) count(data string, span int) {
	from := span * lineSpan
	to := min(from+lineSpan, len(data))
	lines := 0
	for pos := from; pos < to; pos += lineBlock {
		x.blocks[pos/lineBlock] = uint16(lines)
		lines += strings.Count(data[pos:min(pos+lineBlock, to)], "\n")
	}
	x.spans[span] = uint32(lines)
}

// number ends the making of an index.
func (x lineIndex) number() {
	line := uint32(1)
	for i, lines := range x.spans {
		x.spans[i] = line
		line += lines
	}
}

// at is the number of the line that an offset into data is in.
func (x lineIndex) at(data string, offset int) int {
	block := offset / lineBlock
	before := strings.Count(data[block*lineBlock:offset], "\n")
	return int(x.spans[offset/lineSpan]) + int(x.blocks[block]) + before
}
