module github.com/kms-enclave/kms-enclave

go 1.27.3

require golang.org/x/mod v0.42.0 // indirect
