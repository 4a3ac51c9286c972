package redis

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"gatepost/maps/internal/credentials"
)

// Forms that ParseURL reads, for error messages and manuals.
const (
	form     = "redis://[user[:password]@]host[:port]/DB/KEY"
	unixForm = "redis+unix:///PATH/OF/SOCKET?db=DB&key=KEY"
)

// Config says which hash of which server is the table. Zero durations and sizes
// stand for the defaults.
type Config struct {
	Network string // "tcp" or "unix"
	Address string // host:port, or the path of the socket
	DB      int    // number of the database
	Key     string // name of the hash
	// VersionKey names the string that an editor changes along with the hash;
	// empty stands for Key:version. In a cluster both must have one slot: {access}
	// and {access}:version.
	VersionKey string

	User         string // empty: the server's default user
	Password     string
	PasswordFile string // instead of Password; read for each connection

	UseTLS bool
	TLS    credentials.TLS

	Required bool // a key that does not exist is an error, not an empty table

	Timeout      time.Duration // of everything but Fetch; 5 s
	FetchTimeout time.Duration // of Fetch as a whole; 2 min
	MaxBytes     int64         // of a table, as it is sent; 1 GiB
}

// ParseURL reads the address of a table:
//
//	redis://[user[:password]@]host[:port]/DB/KEY
//	rediss://...                                  the same over TLS
//	redis+unix:///PATH/OF/SOCKET?db=DB&key=KEY    a unix socket
//
// The port is 6379 if there is none. Special characters are written %XX; a slash
// in KEY may stand as it is. Options after a question mark: password_file, ca_file,
// cert_file, key_file (paths), version_key, required (yes or no); for redis+unix
// also user and password. Errors are one line without the URL, which may hold a password.
func ParseURL(s string) (Config, error) {
	u, err := url.Parse(s)
	if err != nil {
		return Config{}, fmt.Errorf("redis: not a URL (a special character in a password is written %%XX); expected %s", form)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || u.Fragment != "" || u.Opaque != "" {
		return Config{}, fmt.Errorf("redis: malformed options, or a # or ? that is not written %%XX; expected %s", form)
	}
	var c Config
	switch u.Scheme {
	case "redis", "rediss":
		c, err = parseTCP(u)
	case "redis+unix":
		c, err = parseUnix(u, query)
	default:
		err = fmt.Errorf("redis: scheme %q; expected redis, rediss or redis+unix", u.Scheme)
	}
	if err == nil {
		err = c.options(query)
	}
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return Config{}, err
	}
	return c, nil
}

func parseTCP(u *url.URL) (Config, error) {
	port := u.Port()
	if port == "" {
		port = "6379"
	}
	db, key, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	password, _ := u.User.Password()
	c := Config{
		Network: "tcp", Address: net.JoinHostPort(u.Hostname(), port), Key: key,
		User: u.User.Username(), Password: password, UseTLS: u.Scheme == "rediss",
	}
	if n, err := strconv.ParseUint(port, 10, 16); u.Hostname() == "" || err != nil || n == 0 {
		return c, fmt.Errorf("redis: no host or no valid port; expected %s", form)
	}
	return c, c.setDB(db)
}

func parseUnix(u *url.URL, query url.Values) (Config, error) {
	c := Config{Network: "unix", Address: u.Path, Key: query.Get("key"), User: query.Get("user"), Password: query.Get("password")}
	if u.Host != "" || u.User != nil {
		return c, fmt.Errorf("redis: three slashes stand before the path of a socket; expected %s", unixForm)
	}
	db := query.Get("db")
	if db == "" {
		db = "0"
	}
	for _, own := range []string{"db", "key", "user", "password"} {
		query.Del(own)
	}
	return c, c.setDB(db)
}

func (c *Config) setDB(s string) error {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return fmt.Errorf("redis: no number of a database before the key; expected %s or %s", form, unixForm)
	}
	c.DB = int(n)
	return nil
}

func (c *Config) options(query url.Values) error {
	for name, values := range query {
		value := values[len(values)-1]
		switch name {
		case "password_file":
			c.PasswordFile = value
		case "ca_file":
			c.TLS.CAFile = value
		case "cert_file":
			c.TLS.CertFile = value
		case "key_file":
			c.TLS.KeyFile = value
		case "version_key":
			c.VersionKey = value
		case "required":
			if value != "yes" && value != "no" {
				return errors.New("redis: required: expected yes or no")
			}
			c.Required = value == "yes"
		default:
			return fmt.Errorf("redis: unknown option %q", name)
		}
	}
	return nil
}

// check finds what is missing or contradicts itself. It opens no file.
func (c Config) check() error {
	switch {
	case c.Network != "tcp" && c.Network != "unix":
		return fmt.Errorf("redis: network %q; expected tcp or unix", c.Network)
	case c.Address == "":
		return errors.New("redis: no address of the server")
	case c.Key == "":
		return fmt.Errorf("redis: no key; expected %s or %s", form, unixForm)
	case c.DB < 0:
		return errors.New("redis: the database's number is negative")
	case c.Password != "" && c.PasswordFile != "":
		return errors.New("redis: both a password and a password file; expected one of them")
	case c.User != "" && c.Password == "" && c.PasswordFile == "":
		return errors.New("redis: a user without a password or a password file")
	case !c.UseTLS && c.TLS != (credentials.TLS{}):
		return errors.New("redis: certificate files without TLS; expected rediss://")
	case c.Timeout < 0 || c.FetchTimeout < 0 || c.MaxBytes < 0:
		return errors.New("redis: a negative limit")
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.VersionKey == "" {
		c.VersionKey = c.Key + ":version"
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	if c.FetchTimeout == 0 {
		c.FetchTimeout = 2 * time.Minute
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 1 << 30
	}
	return c
}

// String names the table in logs: the URL without password and options.
func (c Config) String() string {
	if c.Network == "unix" {
		return (&url.URL{Scheme: "redis+unix", Path: c.Address, RawQuery: "db=" + strconv.Itoa(c.DB) + "&key=" + url.QueryEscape(c.Key)}).String()
	}
	u := url.URL{Scheme: "redis", Host: c.Address, Path: "/" + strconv.Itoa(c.DB) + "/" + c.Key}
	if c.UseTLS {
		u.Scheme = "rediss"
	}
	if c.User != "" {
		u.User = url.User(c.User)
	}
	return u.String()
}

// GoString keeps the password out of %#v too.
func (c Config) GoString() string { return "redis.Config(" + c.String() + ")" }

func (c Config) host() string {
	host, _, _ := net.SplitHostPort(c.Address)
	return host
}
