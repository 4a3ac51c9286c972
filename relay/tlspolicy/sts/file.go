package sts

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"gatepost/internal/follow"
)

const (
	fileVersion = 1
	maxFile     = 128 << 20 // bytes
)

// saved is the form of the file.
type saved struct {
	Version  int           `json:"version"`
	Policies []savedPolicy `json:"policies"` // those that were used last at the end
}

type savedPolicy struct {
	Domain  string    `json:"domain"`
	ID      string    `json:"id"`
	Mode    Mode      `json:"mode"`
	MX      []string  `json:"mx,omitempty"`
	MaxAge  int64     `json:"max_age"` // seconds
	Fetched time.Time `json:"fetched"`
}

// load takes what the file has and is still good.
func (s *Store) load() {
	if s.cfg.File == "" {
		return
	}
	all, err := readFile(s.cfg.File)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.cfg.Log.Warn("the MTA-STS policies that were known cannot be read, they are fetched again", "error", err)
		}
		return
	}
	for _, one := range all {
		e, err := one.entry()
		if err != nil {
			s.cfg.Log.Warn("an MTA-STS policy that was known cannot be taken over", "file", s.cfg.File, "error", err)
			continue
		}
		if e.good(s.cfg.Now()) {
			s.known.Add(one.Domain, e)
		}
	}
}

func readFile(path string) ([]savedPolicy, error) {
	data, err := follow.Read(path, maxFile, false)
	if err != nil {
		return nil, err
	}
	var all saved
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if all.Version != fileVersion {
		return nil, fmt.Errorf("%s: version %d, expected %d", path, all.Version, fileVersion)
	}
	return all.Policies, nil
}

// entry checks what was saved as what is fetched is checked.
func (one *savedPolicy) entry() (*entry, error) {
	if !isName(one.Domain) || !isID(one.ID) {
		return nil, fmt.Errorf("domain %.80q with id %.40q", one.Domain, one.ID)
	}
	var p Policy
	for _, mx := range one.MX {
		if err := p.addMX(mx); err != nil {
			return nil, err
		}
	}
	err := p.setFields("STSv1", string(one.Mode), fmt.Sprint(one.MaxAge))
	return &entry{policy: p, id: one.ID, fetched: one.Fetched}, err
}

// saveSoon has the file written in a while. The caller holds s.mu.
func (s *Store) saveSoon() {
	if s.cfg.File != "" && s.saver == nil {
		s.saver = time.AfterFunc(saveAfter, func() { _ = s.save() }) // save has logged it
	}
}

// Close writes what has not been written yet. The Store can still be asked.
func (s *Store) Close() error {
	s.mu.Lock()
	due := s.saver != nil && s.saver.Stop()
	s.mu.Unlock()
	if !due {
		s.files.Lock() // a save under way ends
		defer s.files.Unlock()
		return nil
	}
	return s.save()
}

// save writes the file: all of it, or what was there stays.
func (s *Store) save() error {
	s.files.Lock()
	defer s.files.Unlock()
	err := writeFile(s.cfg.File, s.snapshot())
	if err != nil {
		s.cfg.Log.Warn("the MTA-STS policies that are known cannot be saved", "error", err)
	}
	return err
}

func (s *Store) snapshot() saved {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saver = nil
	all := saved{Version: fileVersion}
	for _, domain := range s.known.Keys() {
		e, ok := s.known.Peek(domain)
		if !ok || !e.good(s.cfg.Now()) {
			continue
		}
		all.Policies = append(all.Policies, savedPolicy{domain, e.id, e.policy.Mode, e.policy.MX, int64(e.policy.MaxAge / time.Second), e.fetched})
	}
	return all
}

func writeFile(path string, all saved) (err error) {
	data, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(append(data, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
