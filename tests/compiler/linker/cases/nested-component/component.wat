;; A component that only packs the exports again may be nested; a component without memory has none.
(component
  (core module $main (func (export "main") (result i32) (i32.const 1)))
  (core instance $main (instantiate $main))
  (type $t (func (result u32)))
  (func $lifted (type $t) (canon lift (core func $main "main")))
  (component $package
    (import "main" (func $f (result u32)))
    (component $inner)
    (export "main" (func $f)))
  (instance $packed (instantiate $package (with "main" (func $lifted))))
  (export "test:packed/api" (instance $packed)))
