package sasl

import "time"

// SetRandom makes nonces known.
func (s *Server) SetRandom(f func() string) { s.random = f }

// SetNow sets the clock of the throttle.
func (s *Server) SetNow(f func() time.Time) { s.now = f }

// Rounds are those of key derivations so far.
func (s *Server) Rounds() uint64 { return s.kdf.rounds.Load() }

// Seats are taken and given back, to be busy.
func (s *Server) Sit()  { s.kdf.seats <- struct{}{} }
func (s *Server) Rise() { s.kdf.rise() }

// Remembered are the entries of the throttle's tables.
func (s *Server) Remembered() map[string]int {
	t := s.throttle
	return map[string]int{"sources": t.sources.Len(), "networks": t.networks.Len(), "accounts": t.accounts.Len(), "homes": t.homes.Len()}
}
