package explain

import (
	"fmt"

	"gatepost/policy"
)

// whyNot says what decides where no edit of a table changes the verdict.
func whyNot(d *policy.Decision) string {
	by := d.By()
	if by.Err != nil {
		return fmt.Sprintf("a lookup failed, and until it works no edit changes the verdict: %v", by.Err)
	}
	switch by.Rule {
	case "":
		return "nothing is decided at this stage"
	case "sender syntax", "recipient syntax":
		return "the address itself is refused, no table is asked about it"
	case "null sender":
		return "the null sender <> is accepted, no entry can match it"
	case "local client":
		return "this host itself may always relay"
	case "trust_auth_mech":
		return "the client logged in, and features.trust_auth_mech lets it relay"
	case "promiscuous_relay":
		return "features.promiscuous_relay accepts every recipient"
	case "check_rcpt":
		return `features.check_rcpt is "off", which accepts every recipient`
	case "unqualified recipient", "local recipient":
		return "a recipient without a domain is local"
	}
	return fmt.Sprintf("the rule %q decides, and no edit of one or two lines changes that", by.Rule)
}
