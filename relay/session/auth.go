package session

// mechanisms are what AUTH can be announced with now.
func (s *session) mechanisms() []string { return nil }

func (s *session) offersAuth() bool { return len(s.mechanisms()) > 0 }

// auth is AUTH.
func (s *session) auth(string) { s.wrong(503, "5.3.3", "AUTH not available") }
