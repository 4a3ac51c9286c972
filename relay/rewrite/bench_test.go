package rewrite

import (
	"strings"
	"testing"
)

// BenchmarkHeader is what a header costs: of 60 fields, two of which are rewritten, and one
// in which nothing is.
func BenchmarkHeader(b *testing.B) {
	rest := strings.Repeat("Received: from a.example (a.example [192.0.2.1]) by b.example\r\n\twith ESMTP; Thu, 26 Nov 2026 07:00:00 +0000\r\n", 55) +
		"To: Bob <bob@other.example>, Cid <cid@other.example>\r\nSubject: hello\r\n"
	for name, header := range map[string]string{
		"rewritten": rest + "From: Ann Lee <ann@lan.example>\r\nReply-To: ann@lan.example\r\n",
		"unchanged": rest + "From: Ann Lee <ann@other.example>\r\nReply-To: ann@other.example\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			r := site()
			b.SetBytes(int64(len(header)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Header(b.Context(), Relay, "", []byte(header)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
