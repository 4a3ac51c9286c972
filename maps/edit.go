package maps

// File is the name that the table was read under: that of its entries' Source.
func (t *Text) File() string { return t.file }

// Occurrences lists the lines that have a key, in the order of the file: the
// first counts, and the next one would if its line went. In a class they are all
// places of the word. It walks over the whole table.
func (t *Text) Occurrences(key string) []Entry {
	var all []Entry
	s := scanner{format: t.format}
	s.entry = func(line, _ int, k, value string) bool {
		if foldEqual(k, key) {
			all = append(all, Entry{Value: value, Source: t.sourceOf(line)})
		}
		return true
	}
	if key != "" {
		s.scan(t.data, whole(t.data))
	}
	return all
}

// Editable tells whether the table is a text file, which an administrator edits
// line by line, and not a database or a list of the program's own.
func (t *Text) Editable() bool { return t.edited }
