package rewrite

// Header fields come from anywhere, and what is not changed must stay as it is, to the
// blank: so addresses are found by their offsets. net/mail reads values and not offsets,
// and refuses much that is in use (RFC 5322, section 4).

// span is a part of a field's value, from start to end.
type span struct{ start, end int }

// mailbox is one address of a field. Its tokens are good until the next one is read.
type mailbox struct {
	tokens  []span // of the address, with what stands between them left out
	text    string // without a source route
	element int    // where the element of the list begins, just after the comma
}

type tokenKind uint8

const (
	tokenBad     tokenKind = iota
	tokenBlank             // white space, folding or a comment
	tokenWord              // an atom, of whatever it is made
	tokenQuoted            // "..."
	tokenLiteral           // [...]
	tokenSpecial           // one of <>,;:@.
)

// token is the one that begins at v[i].
func token(v []byte, i int) (kind tokenKind, end int) {
	switch c := v[i]; c {
	case ' ', '\t', '\r', '\n':
		return tokenBlank, i + 1
	case '(':
		return closed(v, i, ')', tokenBlank)
	case '"':
		return closed(v, i, '"', tokenQuoted)
	case '[':
		return closed(v, i, ']', tokenLiteral)
	case '<', '>', ',', ';', ':', '@', '.':
		return tokenSpecial, i + 1
	}
	end = i
	for end < len(v) && wordByte(v[end]) {
		end++
	}
	if end == i {
		return tokenBad, i + 1
	}
	return tokenWord, end
}

// closed is a token up to the byte that closes it. Comments nest; a backslash takes the
// next byte literally.
func closed(v []byte, i int, by byte, kind tokenKind) (tokenKind, int) {
	depth := 0
	for j := i + 1; j < len(v); j++ {
		switch c := v[j]; {
		case c == '\\':
			j++
		case c == '(' && by == ')':
			depth++
		case c == by && depth > 0:
			depth--
		case c == by:
			return kind, j + 1
		}
	}
	return tokenBad, len(v)
}

func wordByte(c byte) bool {
	switch c {
	case '(', ')', '<', '>', '[', ']', ':', ';', '@', '\\', ',', '.', '"', ' ', 0x7f:
		return false
	}
	return c > ' '
}

// scanner reads an address list (RFC 5322, 3.4 and 4.4), with obsolete forms.
type scanner struct {
	v    []byte
	pos  int
	each func(mailbox) error
	err  error // of each

	start   int    // of the element
	words   []span // of the element, outside of angle brackets
	inside  []span // of the element, inside of them
	text    []byte // of an address
	angled  bool   // there were some
	inGroup bool
	ended   bool // a group has: a comma must follow
}

// scan gives each the addresses of a field's value, in their order, until it returns an
// error, which is returned. It tells ok=false when it finds that the value is no address
// list; a field is scanned with a nil each first, since nothing is known of it then.
func scan(v []byte, each func(mailbox) error) (ok bool, err error) {
	s := &scanner{v: v, each: each}
	for s.pos < len(v) {
		from := s.pos
		kind, end := token(v, s.pos)
		s.pos = end
		if kind == tokenBlank {
			continue
		}
		if kind == tokenBad || !s.take(kind, span{from, end}) {
			return false, s.err
		}
	}
	return s.flush() && !s.inGroup, s.err
}

// take goes on with a token that is no blank.
func (s *scanner) take(kind tokenKind, at span) bool {
	c := s.v[at.start]
	if kind != tokenSpecial {
		c = 0
	}
	switch {
	case c == ',':
		return s.flush()
	case s.ended || s.angled && c != ';':
		return false
	case c == '<':
		return s.angle()
	case c == ':':
		name := len(s.words) > 0 && !s.inGroup
		s.words, s.inGroup, s.start = s.words[:0], true, s.pos
		return name
	case c == ';':
		ok := s.inGroup && s.flush()
		s.inGroup, s.ended = false, true
		return ok
	case c == '>':
		return false
	}
	s.words = append(s.words, at)
	return true
}

// flush ends an element of the list.
func (s *scanner) flush() bool {
	if !s.angled && len(s.words) > 0 && !s.add(s.words) {
		return false
	}
	s.words, s.angled, s.ended, s.start = s.words[:0], false, false, s.pos
	return true
}

// angle reads an address in angle brackets, from behind the first.
func (s *scanner) angle() bool {
	s.inside = s.inside[:0]
	for s.pos < len(s.v) {
		from := s.pos
		kind, end := token(s.v, from)
		s.pos = end
		switch {
		case kind == tokenBad, kind == tokenSpecial && (s.v[from] == '<' || s.v[from] == ';'):
			return false
		case kind == tokenSpecial && s.v[from] == '>':
			s.angled = true
			return len(s.inside) == 0 || s.add(s.inside)
		case kind != tokenBlank:
			s.inside = append(s.inside, span{from, end})
		}
	}
	return false
}

// add takes tokens for an address, if they can be one.
func (s *scanner) add(tokens []span) bool {
	text := s.text[:0]
	route := s.v[tokens[0].start] == '@' // which ends at a colon
	last := byte(0)
	for _, t := range tokens {
		piece := s.v[t.start:t.end]
		c := piece[0]
		switch {
		case c == '@', c == '.':
		case c == ',' || c == ':':
			if !route {
				return false
			}
			if c == ':' {
				route, text, last = false, text[:0], 0
				continue
			}
		case c == '[':
			if last != '@' || !literal(piece[1:len(piece)-1]) {
				return false
			}
			c = 'a'
		default:
			c = 'a'
			if last == c { // two words with nothing between are a name
				return false
			}
		}
		last = c
		text = append(text, piece...)
	}
	s.text = text
	if route || last != 'a' && last != '.' {
		return false
	}
	if s.each != nil {
		s.err = s.each(mailbox{tokens, string(text), s.start})
	}
	return s.err == nil
}

// literal tells whether an address literal is one (RFC 5321, 4.1.3).
func literal(s []byte) bool {
	for _, c := range s {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '.' && c != ':' && c != '-' {
			return false
		}
	}
	return len(s) > 0
}
