module github.com/kms-enclave/kms-enclave/vectors

go 1.27.3

require (
	github.com/c2sp/wycheproof v0.0.0-20260902155932-3fa63dd0344a
	github.com/kms-enclave/kms-enclave v0.0.0
)

replace github.com/kms-enclave/kms-enclave => ../
