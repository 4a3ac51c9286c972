package milter

import lib "github.com/d--j/go-milter"

// What is not to be sent. There is always an end of message, so that a message
// can be dropped or held there; no answer is left out, and Skip is not asked
// for, since at RCPT it would hide the recipients that follow.
const unwanted = lib.OptNoHeaders | lib.OptNoEOH | lib.OptNoBody | lib.OptNoUnknown | lib.OptNoData

// wantedMacros are the lists asked for. A list takes the place of the MTA's own,
// so that each has to name all that is wanted at its stage.
//
// The certificate is asked for at MAIL again: the client may have started TLS
// without a second greeting. Nothing is asked for at the end of the header or of
// the message: sendmail chooses the latter's list by the presence of the former.
func wantedMacros() map[lib.MacroStage][]lib.MacroName {
	return map[lib.MacroStage][]lib.MacroName{
		lib.StageConnect: {"j", "v", "{daemon_name}", "{client_addr}", "{client_name}", "{client_ptr}", "{client_resolve}", "_"},
		lib.StageHelo:    {"{tls_version}", "{cipher}", "{cipher_bits}", "{cert_subject}", "{cert_issuer}", "{verify}"},
		lib.StageMail:    {"i", "{auth_type}", "{auth_authen}", "{verify}", "{cert_subject}", "{cert_issuer}"},
		lib.StageRcpt:    {"i"},
	}
}

// libraryOptions are those that all sessions share; lists says whether the MTA
// takes lists of macros.
func libraryOptions(lists bool) []lib.Option {
	opts := []lib.Option{
		lib.WithActions(lib.OptQuarantine),
		lib.WithProtocols(unwanted),
		lib.WithNegotiationCallback(intersect),
	}
	if lists {
		for stage, names := range wantedMacros() {
			opts = append(opts, lib.WithMacroRequest(stage, names))
		}
	}
	return opts
}

// intersect takes what both sides can do. Nothing is required: what an old MTA
// sends in spite of us is answered with continue, and without quarantine such a
// verdict is a temporary failure.
func intersect(theirs, ours uint32, theirActions, ourActions lib.OptAction, theirProtocol, ourProtocol lib.OptProtocol, _ lib.DataSize) (
	uint32, lib.OptAction, lib.OptProtocol, lib.DataSize, error) {
	return min(theirs, ours), theirActions & ourActions, theirProtocol & ourProtocol, lib.DataSize64K, nil
}
