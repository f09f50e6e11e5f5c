package api

import (
	_ "embed"
	"net/http"
)

var (
	//go:embed openapi.yaml
	openAPIDocument []byte
	//go:embed index.html
	indexPage []byte
)

func openAPI(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(openAPIDocument)
	return nil
}

func index(w http.ResponseWriter, _ *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	_, _ = w.Write(indexPage)
	return nil
}
