package config

import (
	"bytes"
	"errors"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// document is a TOML file: its values, and the line of each.
type document struct {
	name   string
	values map[string]any
	lines  map[string]int // by path: "milter.listen", "milter.listen[1]"
}

// line is where the value at path stands, or the nearest thing around it.
func (d *document) line(path string) int {
	for {
		if n, ok := d.lines[path]; ok {
			return n
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return 0
		}
		path = path[:i]
	}
}

func parseDocument(name string, data []byte) (*document, error) {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return nil, &Error{File: name, Line: 1 + bytes.Count(data[:i], []byte("\n")), Message: "NUL byte, expected a text file"}
	}
	d := &document{name: name, lines: make(map[string]int)}
	if err := toml.Unmarshal(data, &d.values); err != nil {
		var de *toml.DecodeError
		if !errors.As(err, &de) {
			return nil, &Error{File: name, Message: "not TOML: " + err.Error()}
		}
		row, _ := de.Position()
		return nil, &Error{File: name, Line: row, Message: "not TOML: " + strings.TrimPrefix(de.Error(), "toml: ")}
	}
	if d.values == nil {
		d.values = map[string]any{}
	}
	d.index(data)
	return d, nil
}

// maxPath bounds the paths that are noted, in bytes: no key of ours is near it,
// and deep nesting would make them grow with the square of its depth.
const maxPath = 256

// index notes the lines. The document is known to parse.
func (d *document) index(data []byte) {
	ix := indexer{doc: d, tables: make(map[string]int)}
	for i, b := range data {
		if b == '\n' {
			ix.ends = append(ix.ends, i)
		}
	}
	var p unstable.Parser
	p.Reset(data)
	prefix := ""
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table:
			prefix = ix.key("", e.Key())
		case unstable.ArrayTable:
			path := ix.key("", e.Key())
			prefix = path + "[" + strconv.Itoa(ix.tables[path]) + "]"
			ix.tables[path]++
			if it := e.Key(); it.Next() {
				ix.doc.lines[prefix] = ix.line(it.Node())
			}
		case unstable.KeyValue:
			ix.keyValue(prefix, e)
		}
	}
}

type indexer struct {
	doc    *document
	ends   []int          // offsets of the newlines
	tables map[string]int // how many [[path]] there were
}

// key joins a dotted key to prefix and notes the line of each part not seen before.
func (ix *indexer) key(prefix string, it unstable.Iterator) string {
	path := prefix
	for it.Next() {
		n := it.Node()
		if len(path) > maxPath {
			continue
		}
		path = join(path, string(n.Data))
		if _, seen := ix.doc.lines[path]; !seen {
			ix.doc.lines[path] = ix.line(n)
		}
	}
	return path
}

func (ix *indexer) keyValue(prefix string, e *unstable.Node) {
	ix.value(ix.key(prefix, e.Key()), e.Value())
}

func (ix *indexer) value(path string, n *unstable.Node) {
	if len(path) > maxPath {
		return
	}
	switch n.Kind {
	case unstable.InlineTable:
		for it := n.Children(); it.Next(); {
			ix.keyValue(path, it.Node())
		}
	case unstable.Array:
		i := 0
		for it := n.Children(); it.Next(); i++ {
			element := path + "[" + strconv.Itoa(i) + "]"
			if it.Node().Raw.Length > 0 {
				ix.doc.lines[element] = ix.line(it.Node())
			}
			ix.value(element, it.Node())
		}
	}
}

func (ix *indexer) line(n *unstable.Node) int {
	return 1 + sort.SearchInts(ix.ends, int(n.Raw.Offset))
}

// join writes a path as an administrator would: dots between, quotes where TOML wants them.
func join(path, name string) string {
	bare := name != "" && !strings.ContainsFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-'
	})
	if !bare {
		name = strconv.Quote(name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}
