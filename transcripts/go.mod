// Transcripts of the command, apart from the product because of what they need.
module github.com/kms-enclave/kms-enclave/transcripts

go 1.27.3

require github.com/rogpeppe/go-internal v1.16.0

require (
	golang.org/x/sys v0.26.0 // indirect
	golang.org/x/tools v0.26.0 // indirect
)
