// Package integration runs Gatepost with real mail servers.
//
// A dialogue file says which policy is in force, what an SMTP client says, and
// what it must hear. The same file is played to each driver (sendmail with the
// milter, Postfix with the milter); where the servers truly differ, the file
// says so by a tag. This file and its tests need no Docker. The tests behind the
// build tag "integration" do: integration/run.sh starts them.
package integration
