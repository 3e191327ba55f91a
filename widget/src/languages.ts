/**
 * What the widget says, in each language; in all but English one text a line, in English's order. Where
 * a text counts, its forms stand side by side: for one, two, few, many, and for all other numbers the
 * last. A `#` stands for the number, or for the name of a file.
 */

export const ENGLISH = {
  title: "Chat",
  greeting: "Hi! Ask us anything. The answer appears right here.",
  placeholder: "Write a message",
  open: "Open chat",
  openUnread: "Open chat, # new message~Open chat, # new messages",
  close: "Close chat",
  log: "Conversation",
  earlier: "Show earlier messages",
  latest: "Jump to latest",
  send: "Send message",
  retry: "Try again",
  copy: "Copy",
  copied: "Copied",
  stop: "Stop",
  stopping: "Stopping…",
  stopped: "Stopped",
  retrying: "Trying again…",
  away: "We are away right now. Your message is kept and answered when we are back.",
  // Said before each message to those who cannot see which side it is on.
  visitor: "You said:",
  agent: "Reply:",
  operator: "Reply:",
  system: "Notice:",
  draft: "Reply so far:",
  sending: "Sending…",
  sent: "Sent",
  failed: "Not sent:",
  quickReplies: "Suggested answers",
  // What can be said of a reply.
  up: "Helpful",
  down: "Not helpful",
  attach: "Attach files",
  attached: "# attached",
  remove: "Remove #",
  download: "Download",
  // Why a file is not sent.
  tooLarge: "Too large",
  notTaken: "File type not accepted",
  tooMany: "Too many files",
};

export type Texts = typeof ENGLISH;

export const KEYS = Object.keys(ENGLISH) as readonly (keyof Texts)[];

/** The languages that are not in the script but files of their own, by their codes in BCP 47. */
export const CODES = ["de", "fr", "es", "pt", "ar", "zh", "ja"] as const;

export function textsOf(lines: string): Texts {
  const pairs = lines.split("\n").map((line, index) => [KEYS[index], line]);
  return Object.fromEntries(pairs);
}

export const LANGUAGES: Readonly<Record<(typeof CODES)[number], string>> = {
  de: `Chat
Hallo! Fragen Sie uns, was Sie möchten. Die Antwort erscheint gleich hier.
Nachricht schreiben
Chat öffnen
Chat öffnen, # neue Nachricht~Chat öffnen, # neue Nachrichten
Chat schließen
Unterhaltung
Frühere Nachrichten anzeigen
Zum neuesten
Nachricht senden
Erneut versuchen
Kopieren
Kopiert
Anhalten
Wird angehalten …
Angehalten
Neuer Versuch …
Wir sind gerade nicht da. Ihre Nachricht bleibt erhalten und wird beantwortet, sobald wir zurück sind.
Sie:
Antwort:
Antwort:
Hinweis:
Antwort bis jetzt:
Wird gesendet …
Gesendet
Nicht gesendet:
Antwortvorschläge
Hilfreich
Nicht hilfreich
Dateien anhängen
# angehängt
# entfernen
Herunterladen
Zu groß
Dateityp nicht zugelassen
Zu viele Dateien`,
  fr: `Discussion
Bonjour ! Posez-nous vos questions. La réponse s’affiche ici même.
Écrire un message
Ouvrir la discussion
Ouvrir la discussion, # nouveau message~Ouvrir la discussion, # nouveaux messages
Fermer la discussion
Conversation
Afficher les messages précédents
Aller au plus récent
Envoyer le message
Réessayer
Copier
Copié
Arrêter
Arrêt…
Arrêté
Nouvel essai…
Nous sommes absents pour le moment. Votre message est conservé et recevra une réponse à notre retour.
Vous :
Réponse :
Réponse :
Avis :
Réponse en cours :
Envoi…
Envoyé
Non envoyé :
Réponses suggérées
Utile
Pas utile
Joindre des fichiers
# est joint
Retirer #
Télécharger
Trop volumineux
Type de fichier non accepté
Trop de fichiers`,
  es: `Chat
¡Hola! Pregúntenos lo que quiera. La respuesta aparecerá aquí mismo.
Escriba un mensaje
Abrir el chat
Abrir el chat, # mensaje nuevo~Abrir el chat, # mensajes nuevos
Cerrar el chat
Conversación
Mostrar mensajes anteriores
Ir a lo último
Enviar mensaje
Reintentar
Copiar
Copiado
Detener
Deteniendo…
Detenido
Intentando de nuevo…
Ahora mismo no estamos. Guardamos su mensaje y lo responderemos a nuestro regreso.
Usted:
Respuesta:
Respuesta:
Aviso:
Respuesta hasta ahora:
Enviando…
Enviado
No enviado:
Respuestas sugeridas
Útil
No es útil
Adjuntar archivos
# adjuntado
Quitar #
Descargar
Demasiado grande
Tipo de archivo no aceptado
Demasiados archivos`,
  pt: `Chat
Olá! Pergunte o que quiser. A resposta aparece aqui mesmo.
Escreva uma mensagem
Abrir o chat
Abrir o chat, # mensagem nova~Abrir o chat, # mensagens novas
Fechar o chat
Conversa
Mostrar mensagens anteriores
Ir para a mais recente
Enviar mensagem
Tentar novamente
Copiar
Copiado
Parar
Parando…
Parado
Tentando novamente…
Não estamos no momento. Sua mensagem fica guardada e será respondida quando voltarmos.
Você:
Resposta:
Resposta:
Aviso:
Resposta até agora:
Enviando…
Enviada
Não enviada:
Respostas sugeridas
Útil
Não foi útil
Anexar arquivos
# anexado
Remover #
Baixar
Grande demais
Tipo de arquivo não aceito
Arquivos demais`,
  ar: `محادثة
مرحبًا! اسألنا عمّا تشاء، وستظهر الإجابة هنا.
اكتب رسالة
فتح المحادثة
فتح المحادثة، رسالة جديدة واحدة~فتح المحادثة، رسالتان جديدتان~فتح المحادثة، # رسائل جديدة~فتح المحادثة، # رسالة جديدة~فتح المحادثة، # رسالة جديدة
إغلاق المحادثة
المحادثة
عرض الرسائل السابقة
الانتقال إلى الأحدث
إرسال الرسالة
إعادة المحاولة
نسخ
تم النسخ
إيقاف
جارٍ الإيقاف…
تم الإيقاف
نحاول مجددًا…
لسنا متاحين الآن. رسالتك محفوظة وسنرد عليها عند عودتنا.
أنت:
الرد:
الرد:
تنبيه:
الرد حتى الآن:
جارٍ الإرسال…
تم الإرسال
لم تُرسل:
إجابات مقترحة
مفيد
غير مفيد
إرفاق ملفات
تم إرفاق #
إزالة #
تنزيل
كبير جدًا
نوع الملف غير مقبول
ملفات كثيرة جدًا`,
  zh: `聊天
您好！有任何问题都可以问我们，回复会显示在这里。
输入消息
打开聊天
打开聊天，# 条新消息
关闭聊天
对话
显示更早的消息
跳到最新
发送消息
重试
复制
已复制
停止
正在停止…
已停止
正在重试…
我们暂时不在。您的消息已保留，我们回来后会回复。
您：
回复：
回复：
通知：
目前的回复：
正在发送…
已发送
未发送：
建议的回答
有帮助
没有帮助
添加文件
已添加 #
移除 #
下载
文件太大
不接受此类文件
文件太多`,
  ja: `チャット
こんにちは！何でもお尋ねください。回答はここに表示されます。
メッセージを入力
チャットを開く
チャットを開く、新着メッセージ#件
チャットを閉じる
会話
以前のメッセージを表示
最新へ移動
メッセージを送信
再試行
コピー
コピーしました
停止
停止しています…
停止しました
再試行しています…
ただいま不在にしております。メッセージはお預かりし、戻り次第お返事します。
あなた：
返信：
返信：
お知らせ：
ここまでの返信：
送信中…
送信済み
未送信：
回答の候補
役に立った
役に立たなかった
ファイルを添付
#を添付しました
#を削除
ダウンロード
サイズが大きすぎます
このファイル形式は送信できません
ファイルが多すぎます`,
};
