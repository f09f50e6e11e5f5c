// Package client is the Go client of Baedal's HTTP API. What is in generated.go
// comes from api/openapi.yaml.
package client

//go:generate go tool oapi-codegen -config oapi-codegen.yaml ../api/openapi.yaml
