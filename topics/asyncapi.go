package topics

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"baedal/domain"
	"baedal/domain/order"
	"baedal/domain/rider"
	"baedal/domain/stock"
)

// object keeps its keys in order when it is written.
type object = yaml.Node

func obj(pairs ...any) *object {
	n := &object{Kind: yaml.MappingNode}
	for i := 0; i < len(pairs); i += 2 {
		key, value := &object{}, &object{}
		_ = key.Encode(pairs[i]) // a string
		switch v := pairs[i+1].(type) {
		case *object:
			value = v
		default:
			_ = value.Encode(v) // strings, numbers and lists of them
		}
		n.Content = append(n.Content, key, value)
	}
	return n
}

func ref(to string) *object { return obj("$ref", "#/"+to) }

// commandTypes are what the type of a command may be.
var commandTypes = map[reflect.Type][]string{
	reflect.TypeFor[order.Command](): order.CommandTypes,
	reflect.TypeFor[stock.Command](): stock.CommandTypes,
	reflect.TypeFor[rider.Command](): rider.CommandTypes,
}

// AsyncAPI describes the streams of the installation as an AsyncAPI 3 document in
// YAML. Schemas come from the types of the messages, so that they hold what a
// reader may meet; what a command needs is said in the contract of its type.
// Tables and what a group tells itself are nobody else's, and left out.
func (c *Catalog) AsyncAPI() ([]byte, error) {
	channels, operations, schemas, messages := obj(), obj(), obj(), obj()
	seen := map[string]bool{}
	put := func(in *object, name string, v *object) { in.Content = append(in.Content, obj(name, v).Content...) }
	for _, s := range c.all {
		if s.Cleanup != Delete || strings.HasSuffix(s.Topic, "-loop") {
			continue
		}
		name := c.Short(s.Topic)
		put(channels, name, obj(
			"address", s.Topic,
			"description", fmt.Sprintf("Key: %s. %d partitions, kept for %v.", s.Key, s.Partitions, domain.Duration(s.Retention)),
			"messages", obj(name, ref("components/messages/"+name)),
			"bindings", obj("kafka", obj("topic", s.Topic, "partitions", s.Partitions, "bindingVersion", "0.5.0"))))
		action := "send" // from us to whoever reads
		if !s.Internal {
			action = "receive"
		}
		put(operations, action+"-"+name, obj("action", action, "channel", ref("channels/"+name)))
		if s.message == nil {
			put(messages, name, obj("summary", s.Message, "contentType", "application/octet-stream", "payload", obj("type", "string")))
			continue
		}
		schema := typeName(s.message)
		put(messages, name, obj("name", name, "contentType", "application/json", "payload", ref("components/schemas/"+schema),
			"bindings", obj("kafka", obj("key", obj("type", "string", "description", s.Key), "bindingVersion", "0.5.0"))))
		if !seen[schema] {
			seen[schema] = true
			put(schemas, schema, schemaOf(s.message))
		}
	}
	return yaml.Marshal(obj(
		"asyncapi", "3.0.0",
		"info", obj("title", "Baedal", "version", "1",
			"description", "The streams of Baedal. An installation receives commands and sends all other messages. Every message is JSON in UTF-8 with a type; "+
				"a command's id comes from its sender and makes it safe to repeat. HTTP is described in /openapi.yaml."),
		"defaultContentType", "application/json",
		"channels", channels,
		"operations", operations,
		"components", obj("messages", messages, "schemas", schemas)))
}

func typeName(t reflect.Type) string {
	path := t.PkgPath()
	name := path[strings.LastIndexByte(path, '/')+1:]
	return strings.ToUpper(name[:1]) + name[1:] + t.Name()
}

// schemaOf returns the JSON schema of a Go type as package codecs writes it.
func schemaOf(t reflect.Type) *object {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[domain.Time]():
		return obj("type", "string", "format", "date-time")
	case t == reflect.TypeFor[domain.Duration]():
		return obj("type", "string", "examples", []string{"15m"})
	case t == reflect.TypeFor[order.Status]():
		return obj("type", "string", "enum", order.Statuses)
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return obj("type", "string")
	}
	switch t.Kind() {
	case reflect.String:
		return obj("type", "string")
	case reflect.Bool:
		return obj("type", "boolean")
	case reflect.Float64, reflect.Float32:
		return obj("type", "number")
	case reflect.Int, reflect.Int32, reflect.Int64:
		return obj("type", "integer")
	case reflect.Slice, reflect.Array:
		return obj("type", "array", "items", schemaOf(t.Elem()))
	case reflect.Map:
		return obj("type", "object", "additionalProperties", schemaOf(t.Elem()))
	case reflect.Struct:
		return structSchema(t)
	}
	panic(fmt.Sprintf("a message holds a %v, which JSON has no word for", t))
}

func structSchema(whole reflect.Type) *object {
	properties, required := obj(), []string{}
	var add func(reflect.Type)
	add = func(t reflect.Type) {
		for _, f := range reflect.VisibleFields(t) {
			if len(f.Index) > 1 || !f.IsExported() {
				continue
			}
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case name == "-":
				continue
			case name == "" && f.Anonymous:
				add(f.Type)
				continue
			}
			schema := schemaOf(f.Type)
			if types := commandTypes[whole]; name == "type" && types != nil {
				schema = obj("type", "string", "enum", types)
			}
			properties.Content = append(properties.Content, obj(name, schema).Content...)
			if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
				required = append(required, name)
			}
		}
	}
	add(whole)
	if len(required) == 0 {
		return obj("type", "object", "properties", properties)
	}
	return obj("type", "object", "required", required, "properties", properties)
}
