package deliver

import (
	"strings"
	"testing"

	"gatepost/relay/spool"
)

// TestNeedsAcrossChunks: the end of the header is found wherever it falls.
func TestNeedsAcrossChunks(t *testing.T) {
	for shift := range 6 {
		header := strings.Repeat("x", chunk-shift) + "\r\n\r\n"
		for _, tc := range []struct {
			body           string
			eightBit, utf8 bool
		}{
			{header, false, false},
			{header + "\xc3\xa9", true, false},
			{header + strings.Repeat("y", 2*chunk) + "\xe9", true, false},
			{header[:chunk-shift] + "\xc3\xa9" + header[chunk-shift:], true, true},
			{"\r\nno header \xc3\xa9", true, false},
			{"\xc3\xa9", true, true},
			{"", false, false},
		} {
			tr := transaction{env: &spool.Envelope{Sender: "a@b"}}
			eightBit, utf8, err := tr.needs(strings.NewReader(tc.body), &buffers{})
			if eightBit != tc.eightBit || utf8 != tc.utf8 || err != nil {
				t.Errorf("header end at %d: got %v, %v, %v, want %v, %v", chunk-shift, eightBit, utf8, err, tc.eightBit, tc.utf8)
			}
		}
	}
}
