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
	//go:embed docs/index.html
	docsPage []byte
	//go:embed docs/renderer.js
	docsScript []byte
)

func openAPI(w http.ResponseWriter, _ *http.Request) error {
	return writeFile(w, "application/yaml", openAPIDocument)
}

func index(w http.ResponseWriter, _ *http.Request) error {
	return writePage(w, "style-src 'unsafe-inline'", indexPage)
}

// docs shows the document with a script of ours. It asks nobody but this server:
// the policy lets it not.
func docs(w http.ResponseWriter, _ *http.Request) error {
	return writePage(w, "script-src 'self'; connect-src 'self'; img-src 'self' data:; style-src 'unsafe-inline'", docsPage)
}

func docsRenderer(w http.ResponseWriter, _ *http.Request) error {
	return writeFile(w, "text/javascript; charset=utf-8", docsScript)
}

// writePage answers with a page that may do what the policy says and nothing else.
func writePage(w http.ResponseWriter, policy string, page []byte) error {
	w.Header().Set("Content-Security-Policy", "default-src 'none'; "+policy+"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	return writeFile(w, "text/html; charset=utf-8", page)
}

func writeFile(w http.ResponseWriter, contentType string, content []byte) error {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-cache")
	_, _ = w.Write(content) // an error is the client's, who is gone
	return nil
}
