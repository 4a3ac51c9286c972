package deliver

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sink takes all messages and does no more than it must.
func sink(c net.Conn) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 8192)
	io.WriteString(c, "220 sink\r\n")
	if _, err := in.ReadSlice('\n'); err != nil {
		return
	}
	io.WriteString(c, "250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
	for {
		for range 3 {
			if _, err := in.ReadSlice('\n'); err != nil {
				return
			}
		}
		io.WriteString(c, "250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n")
		for {
			line, err := in.ReadSlice('\n')
			if err != nil {
				return
			}
			if bytes.Equal(line, []byte(".\r\n")) {
				break
			}
		}
		io.WriteString(c, "250 2.0.0 taken\r\n")
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSMTP sends messages of 4 KiB, eight at a time, to a sink in this process; what
// that costs is counted too.
func BenchmarkSMTP(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go sink(c)
		}
	}()
	x, err := NewSMTP(Config{HostName: "relay.example.com", MaxUses: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	m := message("bob@example.net")
	m.body = strings.Repeat(strings.Repeat("x", 70)+"\r\n", 57)
	to := ln.Addr().String()
	b.ReportAllocs()
	b.SetParallelism(4)
	begun := cpu()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if got := x.Deliver(b.Context(), to, m, []int{0}); got[0].Outcome != Delivered {
				b.Error(got)
			}
		}
	})
	b.ReportMetric(float64((cpu()-begun).Microseconds())/float64(b.N), "cpu-us/op")
}

// chunkSink takes all messages by BDAT.
func chunkSink(c net.Conn) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 64<<10)
	io.WriteString(c, "220 sink\r\n")
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		switch words := strings.Fields(string(line)); words[0] {
		case "EHLO":
			io.WriteString(c, "250-sink\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
		case "BDAT":
			n, _ := strconv.Atoi(words[1])
			if _, err := in.Discard(n); err != nil {
				return
			}
			fallthrough
		default:
			io.WriteString(c, "250 2.0.0 taken\r\n")
		}
	}
}

// BenchmarkLarge sends messages of 4 MiB by DATA and by BDAT.
func BenchmarkLarge(b *testing.B) {
	for name, serve := range map[string]func(net.Conn){"DATA": sink, "BDAT": chunkSink} {
		b.Run(name, func(b *testing.B) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer ln.Close()
			go func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					go serve(c)
				}
			}()
			x, err := NewSMTP(Config{HostName: "relay.example.com"})
			if err != nil {
				b.Fatal(err)
			}
			defer x.Close()
			m := message("bob@example.net")
			m.body = strings.Repeat(strings.Repeat("x", 70)+"\r\n", 4<<20/72)
			b.SetBytes(int64(len(m.body)))
			begun := cpu()
			for b.Loop() {
				if got := x.Deliver(b.Context(), ln.Addr().String(), m, []int{0}); got[0].Outcome != Delivered {
					b.Fatal(got)
				}
			}
			b.ReportMetric(float64((cpu()-begun).Microseconds())/float64(b.N), "cpu-us/op")
		})
	}
}
