;; Functions, globals, tables and passive data that no export reaches are gone, with the types only they use.
(component
  (core module $main
    (memory 1)
    (table $used 1 funcref)
    (table $unused 1 funcref)
    (global $gone (mut i32) (i32.const 1))
    (func $unused (param f64) (call $also_unused) (global.set $gone (i32.const 2)) (call_indirect $unused (i32.const 0)))
    (func $also_unused (memory.init $gone (i32.const 0) (i32.const 0) (i32.const 0)))
    (func $in_unused_table (param i64))
    (func $in_used_table (result i32) (call $used))
    (func $used (result i32) (i32.const 4))
    (elem (table $unused) (i32.const 0) func $in_unused_table)
    (elem (table $used) (i32.const 0) func $in_used_table)
    (elem $passive func $in_unused_table)
    (data $gone "gone")
    (func (export "main") (result i32) (i32.add (call_indirect $used (result i32) (i32.const 0)) (i32.const 1))))
  (core instance (instantiate $main)))
