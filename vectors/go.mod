module github.com/kms-enclave/kms-enclave/vectors

go 1.27.3

require (
	github.com/c2sp/wycheproof v0.0.0-20260902155932-3fa63dd0344a
	github.com/golang-jwt/jwt/v5 v5.3.1
	github.com/kms-enclave/kms-enclave v0.0.0
)

require (
	golang.org/x/crypto v0.59.0 // indirect
	golang.org/x/mod v0.42.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
)

replace github.com/kms-enclave/kms-enclave => ../
