// Package gatepost holds only the tests that look at the whole repository.
package gatepost

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// allowedImports says which packages of ours each package may import, besides
// its own subfolders: knowledge flows one way.
var allowedImports = map[string][]string{
	"cmd":                   {"internal/control", "internal/submit", "internal/program", "internal/daemon", "internal/front", "internal/listen", "internal/makemap", "internal/explain", "internal/scenario", "internal/setup", "internal/lint", "internal/clients", "internal/config", "milter", "relay/spool", "relay/session", "relay/deliver", "relay/queue", "relay/bounce", "relay/sasl", "relay/sasl/users", "relay/sasl/sasldb", "maps", "policy", "internal/dns", "internal/smtp", "relay/rewrite", "relay/tlspolicy", "relay/sasl/saslclient", "internal/setup/routes", "relay/route", "relay/route/mailertable"},
	"internal/program":      {"internal/config"},
	"internal/daemon":       {"internal/config", "internal/listen", "internal/program", "internal/setup"},
	"internal/listen":       {},
	"internal/makemap":      {"maps/bdb", "maps/cdb"},
	"internal/scenario":     {"internal/setup", "internal/config", "maps", "policy", "internal/dns", "internal/dns/dnsfake", "internal/smtp"},
	"internal/lint":         {"internal/config", "maps", "policy", "policy/dnsbl", "internal/dns", "internal/smtp"},
	"internal/explain":      {"maps", "policy", "internal/dns", "internal/smtp"},
	"internal/setup":        {"internal/follow", "relay/tlspolicy", "relay/tlspolicy/sts", "relay/authinfo", "relay/authinfo/token", "relay/sasl/saslclient", "relay/sasl", "relay/sasl/users", "maps/ldap", "internal/lint", "internal/config", "maps", "policy", "policy/dnsbl", "internal/dns", "internal/smtp", "relay/rewrite", "relay/route/mailertable"},
	"milter":                {"policy", "internal/front", "internal/clients", "internal/smtp"},
	"internal/front":        {"policy", "internal/smtp"},
	"relay/session":         {"policy", "internal/front", "internal/peer", "internal/clients", "internal/smtp", "relay/spool", "relay/sasl"},
	"relay/deliver":         {"internal/smtp", "relay/spool", "relay/tlspolicy", "relay/sasl/saslclient"},
	"relay/tlspolicy":       {"internal/dns", "internal/smtp", "internal/follow", "maps"},
	"relay/queue":           {"internal/smtp", "relay/spool", "relay/deliver", "relay/bounce"},
	"relay/bounce":          {"relay/spool"},
	"relay/authinfo":        {"maps", "internal/follow", "relay/sasl/saslclient"},
	"relay/rewrite":         {"internal/smtp", "maps", "relay/deliver", "relay/spool"},
	"relay/spool":           {},
	"relay/sasl":            {"maps/bdb", "internal/follow"},
	"policy":                {"policy/dnsbl", "maps", "internal/dns", "internal/smtp"},
	"policy/dnsbl":          {"internal/dns"},
	"maps":                  {"maps/bdb", "maps/cdb", "maps/lmdb", "maps/socketmap", "maps/redis", "maps/ldap"},
	"maps/bdb":              {},
	"maps/cdb":              {},
	"maps/lmdb":             {},
	"maps/socketmap":        {},
	"maps/redis":            {"maps/internal/credentials", "maps/internal/credentials/credentialstest"},
	"maps/ldap":             {"maps/internal/credentials", "maps/internal/credentials/credentialstest"},
	"internal/dns":          {},
	"internal/smtp":         {},
	"internal/clients":      {},
	"internal/follow":       {},
	"internal/peer":         {},
	"internal/control":      {"internal/peer", "relay/spool"},
	"internal/submit":       {"internal/peer"},
	"internal/certtest":     {},
	"internal/servers":      {},
	"internal/config":       {"internal/smtp"},
	"integration":           {"internal/dns", "internal/dns/dnsfake", "internal/smtp", "milter/miltertest"},
	"examples":              {"milter/miltertest"},
	"bench":                 {"internal/makemap", "internal/dns", "maps", "policy", "relay/spool"},
	"internal/setup/routes": {"internal/setup", "internal/config", "internal/smtp", "policy", "relay/deliver", "relay/route", "relay/route/mailertable"},
	"relay/route":           {"internal/smtp", "internal/dns", "internal/dns/dnsfake", "maps", "relay/deliver"},
}

func TestImportDirections(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}}{{range .Imports}} {{.}}{{end}}", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	lines := bufio.NewScanner(strings.NewReader(string(out)))
	seen := 0
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		from, ours := strings.CutPrefix(words[0], "gatepost/")
		if !ours {
			continue
		}
		seen++
		group := groupOf(from)
		if group == "" {
			t.Errorf("package %s stands nowhere in the layout", from)
			continue
		}
		for _, imported := range words[1:] {
			if to, ours := strings.CutPrefix(imported, "gatepost/"); ours && !mayImport(group, to) {
				t.Errorf("%s imports %s; %s may import only %v", from, to, group, allowedImports[group])
			}
		}
	}
	if seen < 8 {
		t.Errorf("only %d packages were looked at", seen)
	}
}

// groupOf is the longest entry of allowedImports that a package stands under.
func groupOf(pkg string) string {
	for p := pkg; p != "." && p != ""; p = filepath.Dir(p) {
		if _, ok := allowedImports[p]; ok {
			return p
		}
	}
	return ""
}

func mayImport(group, to string) bool {
	if to == group || strings.HasPrefix(to, group+"/") {
		return true
	}
	for _, allowed := range allowedImports[group] {
		if to == allowed {
			return true
		}
	}
	return false
}

// TestDependenciesExplained holds docs/dependencies.md to go.mod.
func TestDependenciesExplained(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	direct := regexp.MustCompile(`(?m)^\s*(?:require )?([a-z][^\s(]+\.[^\s(]+/[^\s]+) v\S+$`)
	found := direct.FindAllStringSubmatch(string(mod), -1)
	if len(found) < 5 {
		t.Fatalf("go.mod: found %d direct dependencies", len(found))
	}
	for _, m := range found {
		if !strings.Contains(string(page), m[1]) {
			t.Errorf("docs/dependencies.md has no line for %s", m[1])
		}
	}
}

// TestRulesDocumented holds docs/rules.md to the rules: a decision names its rule
// by its heading there.
func TestRulesDocumented(t *testing.T) {
	page, err := os.ReadFile("docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("policy/*.go")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`name:\s+"([^"]+)"`)
	rules := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range name.FindAllStringSubmatch(string(src), -1) {
			rules++
			if !regexp.MustCompile(`(?m)^#+ ` + regexp.QuoteMeta(m[1]) + `$`).Match(page) {
				t.Errorf("docs/rules.md has no heading %q (rule in %s)", m[1], file)
			}
		}
	}
	if rules < 20 {
		t.Errorf("found only %d rules", rules)
	}
}
