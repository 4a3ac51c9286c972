package maps

import "strings"

// Expand puts arguments into a value of a table: %0 to %9 stand for them, %% for a per cent
// sign. One that there is not is empty (map_rewrite in sendmail's map.c).
func Expand(value string, args ...string) string {
	if !strings.Contains(value, "%") {
		return value
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] != '%' || i+1 == len(value) {
			b.WriteByte(value[i])
			continue
		}
		i++
		switch c := value[i]; {
		case c == '%':
			b.WriteByte('%')
		case '0' <= c && c <= '9':
			if n := int(c - '0'); n < len(args) {
				b.WriteString(args[n])
			}
		default:
			b.WriteString(value[i-1 : i+1])
		}
	}
	return b.String()
}
