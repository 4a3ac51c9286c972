package saslclient

// SetNonce makes the client's nonce known.
func SetNonce(m Mechanism, nonce string) {
	switch m := m.(type) {
	case *scramLogin:
		m.nonce = nonce
	case *digestLogin:
		m.cnonce = nonce
	}
}

// SetMost bounds the iterations of SCRAM.
func SetMost(m Mechanism, most int) {
	if s, ok := m.(*scramLogin); ok {
		s.most = most
	}
}

// SetURI makes DIGEST-MD5 one for another service.
func SetURI(m Mechanism, uri string) { m.(*digestLogin).uri = uri }
