;; A slot that is filled twice holds the later function; one that is emptied again holds none.
(component
  (core module $main
    (table (export "t") 3 funcref)
    (type $f (func (result i32)))
    (func $zero (export "zero") (type $f) (call_indirect (type $f) (i32.const 0)))
    (func $one (export "one") (type $f) (call_indirect (type $f) (i32.const 1)))
    (func $first (type $f) (i32.const 1))
    (elem (i32.const 0) func $first $first))
  (core module $late
    (import "main" "t" (table 3 funcref))
    (func $second (result i32) (i32.const 2))
    (elem (i32.const 0) funcref (ref.func $second) (ref.null func)))
  (core instance $main (instantiate $main))
  (core instance (instantiate $late (with "main" (instance $main)))))
