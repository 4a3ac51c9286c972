package config

import "fmt"

// checkLists finds what no single key of a DNS list can tell.
func (r *reader) checkLists(c *Config) {
	most, scored := 0, false
	for i := range c.DNSLists {
		l := &c.DNSLists[i]
		path := fmt.Sprintf("dnsbl[%d]", i)
		r.checkList(path, l)
		r.checkSameZone(c, i, path)
		if l.Table.Scored() {
			scored = true
			most += l.Table.most()
		}
		if l.Table.Scored() && c.Features.DNSBLThreshold == 0 {
			r.fault(path, "%s has a weight, which means nothing without features.dnsbl_threshold, the sum that refuses", path)
		}
	}
	f := &c.Features
	switch {
	case f.DNSBLThreshold > 0 && !scored:
		r.fault("features.dnsbl_threshold", "features.dnsbl_threshold means nothing while no [[dnsbl]] has a weight")
	case f.DNSBLThreshold > most:
		r.fault("features.dnsbl_threshold", "features.dnsbl_threshold is %d but the weights of all lists sum up to %d, expected one that can be reached", f.DNSBLThreshold, most)
	}
	if f.DNSBLMessage != "" && f.DNSBLThreshold == 0 {
		r.fault("features.dnsbl_message", "features.dnsbl_message means nothing without features.dnsbl_threshold; a [[dnsbl]] without weight has a message of its own")
	}
	if f.DNSBLTimeout >= c.Milter.Timeout {
		r.fault("features.dnsbl_timeout", "features.dnsbl_timeout is %v and milter.timeout %v, expected the first to be shorter: a list that is silent must not use up the time for a decision",
			f.DNSBLTimeout, c.Milter.Timeout)
	}
}

// most is the largest weight that the list can add.
func (t *ListTable) most() int {
	if len(t.Results) == 0 {
		return max(0, t.Weight)
	}
	most := 0
	for _, one := range t.Results {
		most = max(most, t.WeightOf(&one))
	}
	return most
}

// least is the smallest weight that the list can add.
func (t *ListTable) least() int {
	if len(t.Results) == 0 {
		return min(0, t.Weight)
	}
	least := 0
	for _, one := range t.Results {
		least = min(least, t.WeightOf(&one))
	}
	return least
}

// WeightOf is what a result counts: its own weight, or that of its list, or 1.
func (t *ListTable) WeightOf(one *Result) int {
	switch {
	case one.Weighted:
		return one.Weight
	case t.Weighted:
		return t.Weight
	}
	return 1
}

func (r *reader) checkList(path string, l *DNSList) {
	t := l.Table
	forged := t.Lookup == "sender" || t.Lookup == "helo"
	for _, one := range []struct {
		wrong bool
		key   string
		text  string
	}{
		{t.Allow && t.Scored(), "allow", "%s has allow and a weight, expected one of the two"},
		{t.Allow && l.Message != "", "message", "%s has allow and a message, but refuses nobody"},
		{t.Allow && l.Temporary != "", "temporary", "%s has allow and temporary; when it cannot be asked, what other lists refuse becomes a temporary failure by itself"},
		{t.Allow && t.Reason, "reason", "%s has allow and a reason, but refuses nobody"},
		{t.Scored() && l.Message != "", "message", "%s has a weight and a message, but does not refuse by itself, expected features.dnsbl_message"},
		{t.Scored() && l.Temporary != "", "temporary", "%s has a weight and temporary, but a list with a weight that cannot be asked weighs nothing"},
		{forged && t.Allow, "allow", "%s allows by what a client says of itself, which is easily forged, expected lookup = \"address\" or \"client_name\""},
		{forged && t.least() < 0, "weight", "%s has a negative weight for what a client says of itself, which is easily forged, expected lookup = \"address\" or \"client_name\""},
		{t.Reason && (l.Message == "quarantine" || l.Message == "discard"), "reason", "%s has a reason, but tells nobody"},
		{t.Domains() && !t.IPv6, "ipv6", "%s has ipv6, but looks up domains"},
	} {
		if one.wrong {
			r.fault(path+"."+one.key, one.text, path)
		}
	}
	if r.has(path+".key") && r.has(path+".key_file") {
		r.fault(path+".key_file", "%s has key and key_file, expected one of the two", path)
	}
}

// has tells whether the document has a key.
func (r *reader) has(path string) bool { _, ok := r.doc.lines[path]; return ok }

// checkSameZone: a zone may be used several times, but is one zone.
func (r *reader) checkSameZone(c *Config, at int, path string) {
	l := &c.DNSLists[at]
	for i := range at {
		o := &c.DNSLists[i]
		if o.Zone != l.Zone || o.Table.Domains() != l.Table.Domains() {
			continue
		}
		if o.Table.Key != l.Table.Key || o.Table.IPv6 != l.Table.IPv6 || o.Table.Health != l.Table.Health {
			r.fault(path, "%s has the zone of dnsbl[%d] but another key, ipv6 or health, expected the same", path, i)
		}
		return
	}
	for _, o := range append(c.Features.DNSBL, c.Features.EnhDNSBL...) {
		if o.Zone == l.Zone && !l.Table.Domains() && (l.Table.Key != "" || !l.Table.Health) {
			r.fault(path, "%s has a zone that features.dnsbl or enhdnsbl has without key and with health, expected one of the two", path)
		}
	}
}
