package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"gatepost/internal/peer"
)

const (
	maxConns   = 32               // at once; others wait
	maxRequest = 2 << 20          // bytes
	readWait   = 10 * time.Second // for a request
	writeWait  = time.Minute      // for a client to take a piece of an answer
	idleWait   = 30 * time.Second
)

// Server answers requests about one queue.
type Server struct {
	queue Queue
	log   *slog.Logger
	http  *http.Server
}

// NewServer returns a server. What is changed is logged, with the user who wanted it.
func NewServer(q Queue, log *slog.Logger) *Server {
	s := &Server{queue: q, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /queue", s.answer)
	mux.HandleFunc("GET /queue/{id}/{part}", s.show)
	s.http = &http.Server{
		Handler: mux, ReadTimeout: readWait, IdleTimeout: idleWait, MaxHeaderBytes: 16 << 10,
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	return s
}

type connKey struct{}

// Serve takes requests from ln until Shutdown, then it returns nil.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.http.Serve(newLimited(ln)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown ends the server; answers that are under way have until ctx is done.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	return err
}

// lines writes an answer line by line. A client has some time to take each piece.
type lines struct {
	control *http.ResponseController
	out     *json.Encoder
	count   int
}

func (l *lines) write(line *Line) error {
	if l.count%64 == 0 {
		if err := l.control.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
			return err
		}
	}
	l.count++
	return l.out.Encode(line)
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	var q Request
	in := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	in.DisallowUnknownFields()
	err := in.Decode(&q)
	if err == nil {
		err = q.Check()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	l := &lines{control: http.NewResponseController(w), out: json.NewEncoder(w)}
	l.out.SetEscapeHTML(false)
	// The time for the request must not end the answer.
	if err := l.control.SetReadDeadline(time.Time{}); err != nil {
		s.log.Error("control: an answer cannot be begun", "error", err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	end := End{}
	err = Run(r.Context(), s.queue, &q, func(line *Line) error {
		if !q.Op.reads() {
			s.note(r, &q, line.Result)
		}
		return l.write(line)
	})
	if err != nil {
		end.Error = err.Error()
	}
	end.Count = l.count
	_ = l.write(&Line{End: &end}) // who is gone does not need it
}

// note logs a change: what an operator did to a message is a part of its story.
func (s *Server) note(r *http.Request, q *Request, done *Result) {
	by := "unknown"
	if c, ok := r.Context().Value(connKey{}).(net.Conn); ok {
		if l, ok := c.(*limitedConn); ok {
			c = l.Conn
		}
		if uid, err := peer.UID(c); err == nil {
			by = "uid " + strconv.FormatUint(uint64(uid), 10)
		}
	}
	if done.Error != "" {
		s.log.Warn("queue command", "command", string(q.Op), "queue", done.ID, "by", by, "error", done.Error)
		return
	}
	s.log.Info("queue command", "command", string(q.Op), "queue", done.ID, "by", by)
}

func (s *Server) show(w http.ResponseWriter, r *http.Request) {
	body, size, err := Show(r.Context(), s.queue, r.PathValue("id"), Part(r.PathValue("part")))
	if err != nil {
		code := http.StatusInternalServerError
		if errors.Is(err, ErrGone) {
			code = http.StatusNotFound
		}
		http.Error(w, err.Error(), code)
		return
	}
	defer body.Close()
	w.Header().Set("Content-Type", "message/rfc822")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	control := http.NewResponseController(w)
	for piece := make([]byte, 64<<10); ; {
		n, err := body.Read(piece)
		if n > 0 {
			if control.SetWriteDeadline(time.Now().Add(writeWait)) != nil {
				return
			}
			if _, err := w.Write(piece[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if err != io.EOF { // the client sees that bytes are missing
				s.log.Error("control: cannot read a message", "queue", r.PathValue("id"), "error", err)
			}
			return
		}
	}
}

// limited is a listener with so many connections at once.
type limited struct {
	net.Listener
	places chan struct{}
	closed chan struct{}
	once   sync.Once
}

type limitedConn struct {
	net.Conn
	leave func()
}

func newLimited(ln net.Listener) *limited {
	return &limited{Listener: ln, places: make(chan struct{}, maxConns), closed: make(chan struct{})}
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

func (c *limitedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
