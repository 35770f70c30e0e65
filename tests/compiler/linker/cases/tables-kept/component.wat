;; Tables that code or an export refers to stay, in order, with their limits, empty slots and all.
(component
  (core module $main
    (table $dropped 1 funcref)
    (table $a (export "a") 3 10 funcref)
    (table $b 4 externref)
    (func $f (result i32) (i32.const 6))
    (elem (table $dropped) (i32.const 0) func $f)
    (elem (table $a) (i32.const 0) funcref (ref.null func) (ref.func $f))
    (func (export "size") (result i32) (table.size $b))
    (func (export "get") (param i32) (result i32) (ref.is_null (table.get $a (local.get 0)))))
  (core instance (instantiate $main)))
