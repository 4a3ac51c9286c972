package lint

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"gatepost/internal/dns"
	"gatepost/maps"
	"gatepost/policy/dnsbl"
)

const (
	maxNames   = 100 // names that are asked about
	nameAskers = 8   // at once
)

// Names asks the DNS about host names in the class files, about domains in To:
// and From: entries, and about the zones of DNS lists: the first hundred, for as
// long as ctx allows. What could not be asked for want of time is not reported.
func Names(ctx context.Context, in *Input) []Finding {
	jobs := nameJobs(in)
	found := make([]Finding, len(jobs))
	var workers sync.WaitGroup
	next := make(chan int)
	for range nameAskers {
		workers.Go(func() {
			for i := range next {
				if f := jobs[i].ask(ctx, in); ctx.Err() == nil {
					found[i] = f
				}
			}
		})
	}
	for i := range jobs {
		next <- i
	}
	close(next)
	workers.Wait()
	return oneFailure(slices.DeleteFunc(found, func(f Finding) bool { return f.Text == "" }))
}

// checkUnasked is for names that could not be asked about.
const checkUnasked = "names that could not be looked up"

// oneFailure makes one finding of all that are about a DNS that does not answer.
func oneFailure(found []Finding) []Finding {
	failed := func(f Finding) bool { return f.Check == checkUnasked }
	first := slices.IndexFunc(found, failed)
	if first < 0 {
		return found
	}
	one, all := found[first], len(found)
	found = slices.DeleteFunc(found, failed)
	if more := all - len(found) - 1; more > 0 {
		one.Text += fmt.Sprintf(" (and %d more names)", more)
	}
	return append(found, one)
}

// nameJob is one name to ask about.
type nameJob struct {
	name   string
	where  string
	source maps.Source
	zone   *dnsbl.Zone // of a DNS list; nil for others
}

func nameJobs(in *Input) []nameJob {
	var jobs []nameJob
	zones := keySource(in.Config, "dnsbl")
	if zones.Line == 0 {
		zones = keySource(in.Config, "features")
	}
	for _, l := range in.Policy.Features.DNSLists {
		if zone := l.DNSZone(); !zone.Trusted {
			jobs = append(jobs, nameJob{name: l.Zone, where: "the DNS list", source: zones, zone: &zone})
		}
	}
	for _, class := range []struct {
		table Table
		where string
	}{{in.RelayDomains, "relay-domains"}, {in.LocalHostNames, "local-host-names"}, {in.VirtualHosts, "virtual-hosts"}} {
		if class.table.Text == nil {
			continue
		}
		for word, e := range words(class.table.Text) {
			name := strings.TrimPrefix(word, ".")
			if askable(name) && (name == word || class.where == "relay-domains") {
				jobs = append(jobs, nameJob{name: name, where: class.where, source: e.Source})
			}
			if len(jobs) >= maxNames {
				break
			}
		}
	}
	if in.Access.Text != nil {
		for key, e := range words(in.Access.Text) {
			if len(jobs) >= maxNames {
				break
			}
			if k := parseKey(key); (k.tag == tagTo || k.tag == tagFrom) && k.kind() == kindDomain && askable(k.rest) {
				jobs = append(jobs, nameJob{name: k.rest, where: written(k.tag), source: e.Source})
			}
		}
	}
	jobs = jobs[:min(len(jobs), maxNames)]
	slices.SortStableFunc(jobs, func(a, b nameJob) int { return cmp.Compare(a.source.File, b.source.File) })
	return jobs
}

// askable tells whether a word looks like the name of a host or domain that has
// something in the DNS: not like a public suffix, nor an address.
func askable(name string) bool {
	if !strings.Contains(name, ".") || !hostName(name) {
		return false
	}
	_, wide := strangersBelow(name)
	return !wide && delegated(name[strings.LastIndexByte(name, '.')+1:])
}

// ask gives the finding about the name; one without text when all is well.
func (j *nameJob) ask(ctx context.Context, in *Input) Finding {
	f := Finding{Source: j.source, Check: "names that do not resolve"}
	r := in.Policy.Resolver
	if j.zone != nil {
		f.Text, f.Check = askZone(ctx, r, j.zone)
		return f
	}
	c, err := dns.Canonify(ctx, r, in.Policy.Hosts, in.Policy.Domain, j.name)
	switch {
	case err != nil:
		f.Check, f.Text = checkUnasked, j.name+" ("+j.where+") could not be looked up: "+err.Error()
	case !c.Found && j.where == written(tagFrom):
		// Senders in domains that do not exist are refused anyhow.
	case !c.Found:
		f.Text = j.name + " (" + j.where + ") is not in the DNS: it has neither an address nor a mail exchanger"
	case !strings.EqualFold(c.Name, j.name) && !in.Config.Features.NoCanonify:
		f.Text = j.name + " (" + j.where + ") is an alias of " + c.Name + ", and addresses are compared under that name; write " + c.Name
	}
	return f
}

// askZone asks a DNS list about things of which it is known what a list says.
func askZone(ctx context.Context, r dns.Resolver, zone *dnsbl.Zone) (text, check string) {
	reason, warning, err := dnsbl.Probe(ctx, r, zone)
	switch {
	case err != nil:
		return "the DNS list " + zone.Name + " could not be asked: " + err.Error(), checkUnasked
	case reason != "":
		return "the DNS list " + zone.Name + " cannot be believed: " + reason, "DNS lists that do not work"
	case warning != "":
		return "the DNS list " + zone.Name + " is odd: " + warning, "DNS lists that do not work"
	}
	return "", ""
}
