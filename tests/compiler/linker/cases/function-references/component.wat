;; A function that code takes a reference of is declared, whether anything else names it or not.
(component
  (core module $a
    (func $f (export "f") (param i64) (result i32) (i32.const 1))
    (func $g)
    (func (export "main") (result i32)
      (i32.add (ref.is_null (ref.func $f)) (ref.is_null (ref.func $g))))
    (elem declare func $f $g))
  (core instance (instantiate $a)))
