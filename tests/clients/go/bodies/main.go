// Writes bodies as client-go sends them, in protobuf and in JSON, one a line: what a decoder must make equal.
//
// Of each kind three objects: with every field set, with every pointer and list set to zeros, and with nothing.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"time"

	authn "k8s.io/api/authentication/v1"
	authz "k8s.io/api/authorization/v1"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	events "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
)

var count int64

// fill sets all that can be set; where values is false, to zeros.
func fill(v reflect.Value, values bool) {
	count++
	switch special := v.Addr().Interface().(type) {
	case *meta.TypeMeta:
		return
	case *meta.Time:
		if values {
			*special = meta.Unix(1_700_000_000+count, 0)
		}
		return
	case *meta.MicroTime:
		if values {
			*special = meta.NewMicroTime(time.Unix(1_700_000_000+count, 123_456_000))
		}
		return
	case *resource.Quantity:
		*special = resource.MustParse("0")
		if values {
			*special = resource.MustParse(fmt.Sprintf("%dMi", count))
		}
		return
	case *intstr.IntOrString:
		if values {
			*special = []intstr.IntOrString{intstr.FromInt32(int32(count)), intstr.FromString("http")}[count%2]
		}
		return
	case *meta.FieldsV1:
		special.SetRawString(`{"f:metadata":{"f:labels":{".":{}}}}`)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), values)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), values)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), values)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, values)
		fill(value, values)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		if values {
			v.SetString(fmt.Sprintf("text-%d-ä", count))
		}
	case reflect.Bool:
		v.SetBool(values)
	case reflect.Int32, reflect.Int64:
		if values {
			v.SetInt([]int64{count, -count}[count%2])
		}
	default:
		panic(v.Type().String())
	}
}

func main() {
	serializer := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
	write := func(name string, version string, object runtime.Object) {
		kind := reflect.TypeOf(object).Elem().Name()
		reflect.ValueOf(object).Elem().FieldByName("TypeMeta").Set(reflect.ValueOf(meta.TypeMeta{Kind: kind, APIVersion: version}))
		var octets bytes.Buffer
		if err := serializer.Encode(object, &octets); err != nil {
			panic(err)
		}
		if _, isNewer := object.(*events.Event); isNewer {
			kind = "newer " + kind
		}
		line, err := json.Marshal(map[string]any{"name": kind + " " + name, "protobuf": octets.Bytes(), "json": object})
		if err != nil {
			panic(err)
		}
		os.Stdout.Write(append(line, '\n'))
	}
	for _, each := range []struct {
		version string
		object  runtime.Object
	}{
		{"v1", &core.Namespace{}}, {"v1", &core.Service{}}, {"v1", &core.Pod{}}, {"v1", &core.Event{}},
		{"discovery.k8s.io/v1", &discovery.EndpointSlice{}}, {"discovery.k8s.io/v1", &meta.DeleteOptions{}},
		{"authorization.k8s.io/v1", &authz.SelfSubjectAccessReview{}},
		{"authorization.k8s.io/v1", &authz.SelfSubjectRulesReview{}},
		{"authorization.k8s.io/v1", &authz.SubjectAccessReview{}},
		{"authentication.k8s.io/v1", &authn.SelfSubjectReview{}},
		{"v1", &core.Node{}}, {"coordination.k8s.io/v1", &coordination.Lease{}}, {"events.k8s.io/v1", &events.Event{}},
	} {
		write("without anything", each.version, each.object.DeepCopyObject())
		zeros, full := each.object.DeepCopyObject(), each.object
		fill(reflect.ValueOf(zeros).Elem(), false)
		write("of zeros", each.version, zeros)
		fill(reflect.ValueOf(full).Elem(), true)
		write("with every field", each.version, full)
	}
}
